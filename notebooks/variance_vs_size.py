# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Variance or size
#
# Does it help pre-training to have more frames, or to have more different ones? Frames of one scan repeat each other,
# so a store of many frames may hold few different ones. This notebook reads the run that `SSL_ZOO_RUN` names, else
# `runs/demo`. To ask the question in earnest takes a run whose variants have frame stores of their own, such as
# `experiments/variance_vs_size.yaml`.

# %%
import pandas as pd

import ssl_zoo
from ssl_zoo.analysis import figures
from ssl_zoo.analysis.notebook import chosen_run, show
from ssl_zoo.analysis.pooling import pooled_scores
from ssl_zoo.analysis.size_and_diversity import regress
from ssl_zoo.analysis.statistics import START, pick
from ssl_zoo.analysis.style import cohort_order, mode_order

run = chosen_run()
results, stores = ssl_zoo.load_results(run), ssl_zoo.load_stores(run)
print(f"run {run.name}: {len(stores)} frame store{'s' * (len(stores) != 1)}")

# %% [markdown]
# **The stores.** `effective` is the Vendi score of the frames: to how many frames that have nothing in common they
# amount. `near_duplicates` is the share of frames that have almost a copy of themselves in the store.

# %%
found = {name: ssl_zoo.load_diversity(run, name) for name in stores}
rows = {
    name: {
        "frames": len(store),
        "scans": store.meta["n_scans"],
        "patients": len(store.patients),
        "effective": found[name].whole.effective,
        "frames_per_effective": len(store) / found[name].whole.effective,
        "near_duplicates": found[name].whole.near_duplicates,
    }
    for name, store in stores.items()
}
show(pd.DataFrame.from_dict(rows, orient="index"))

# %% [markdown]
# **How diversity grows.** Left, the common store: single frames drawn by lot, and whole scans. Where the second curve
# lies lower, more frames of the same scans add little, and more scans would. Right: each patient alone.

# %%
show(figures.store_diversity(found[next(iter(stores))]))

# %% [markdown]
# **What the frames look like.** A row per scan, in order of time: neighbours are nearly the same picture.

# %%
show(figures.frame_sheet(stores[next(iter(stores))].path, scans=4), dpi=72, pictures=True)

# %% [markdown]
# **Where one frame's nearest look-alike is.** Within each scan, the mean distance to the nearest other frame, and how
# many frames that have nothing in common a scan amounts to.

# %%
scans = pd.DataFrame([vars(own) for own in found[next(iter(stores))].scans.values()])
show(scans[["frames", "effective", "nearest", "near_duplicates"]].describe().loc[["min", "25%", "50%", "75%", "max"]])

# %% [markdown]
# **Score against size, and against diversity.** Each encoder is a point: the frames that it learned from, and its
# mean macro-F1 over its cells. A slope is what a doubling brings, alone and with the other predictor held; the
# interval is over stores drawn anew. Two predictors take at least four stores.

# %%
mode, cohort = mode_order(results["mode"])[0], cohort_order(results["cohort"])[0]
points = ssl_zoo.load_encoder_points(run, mode=mode, cohort=cohort)
trained = points["store"].nunique()
if trained < 4:
    print(
        f"The encoders of this run learned from {trained} frame store{'s' * (trained != 1)}, so that its scores cannot"
        " tell size from diversity; those of experiments/variance_vs_size.yaml can."
    )

# %%
fits = regress(points) if trained >= 4 else None
untrained = pooled_scores(pick(results, init="random", mode=mode, cohort=cohort), ssl_zoo.load_predictions(run), START)
baseline = float(untrained["f1_macro"].mean()) if untrained["backbone"].nunique() == 1 else None
show(figures.size_and_diversity(points, fits, baseline)) if trained >= 4 else None

# %% [markdown]
# The same in numbers, where there are enough stores: `r2` is the share of the variance within methods that a model
# explains.

# %%
show(fits, digits=3) if trained >= 4 else None
