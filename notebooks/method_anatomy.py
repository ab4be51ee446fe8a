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
# # Anatomy of the methods
#
# What does each method see, what does it take for a pair, and did its training stay healthy? This notebook reads the
# run that `SSL_ZOO_RUN` names, else `runs/demo`.

# %%
import pandas as pd
from IPython.display import display

import ssl_zoo
from ssl_zoo.analysis import figures
from ssl_zoo.analysis.figures.pairs import pair_distances
from ssl_zoo.analysis.figures.views import view_page
from ssl_zoo.analysis.notebook import chosen_run, show
from ssl_zoo.analysis.pairs import OTHER_SCAN, PARTNER, SAME_SCAN, draw_pairs
from ssl_zoo.methods.table import method_table

run = chosen_run()
pairings = ssl_zoo.load_pairings(run)
print(f"run {run.name}: {', '.join(pairings['init'])}")

# %% [markdown]
# **What each one is.** Read off the code: the idea, the head behind the backbone (`d` is the length of its features),
# and the paper.

# %%
facts = pd.DataFrame(method_table()).set_index("method")
show(facts.loc[list(dict.fromkeys(pairings["method"])), ["family", "views", "head", "paper"]])

# %% [markdown]
# **Pairs.** Which frames a method is told to see alike. `window_s`: seconds, before or after, in which a frame's
# partner lies; `lonely`: the share of frames that have none and are paired with themselves. A method with one view
# has no pairs.

# %%
show(pairings.set_index("init"))

# %% [markdown]
# **Are pairs alike?** Left: how far apart the frames of a pair are in time. Right: the share of pairs up to a
# distance, beside any other frame of the same scan and frames of other scans. The line of partners should lie well to
# the left: a partner that is no nearer than any other frame teaches nothing that the frames hold.

# %%
temporal = pairings[pairings["pairing"] == "temporal"].drop_duplicates(["store", "window_s", "weighting"])
chosen = temporal.iloc[0] if len(temporal) else None
pairs = None
if chosen is not None:
    store = ssl_zoo.load_store(run, chosen["store"])
    pairs = draw_pairs(store, window_s=chosen["window_s"], weighting=chosen["weighting"])
show(None if pairs is None else pair_distances(pairs, [PARTNER, SAME_SCAN, OTHER_SCAN]))

# %% [markdown]
# **Views.** What each method is given of real frames, made as in training. Left the frame, its partner where there is
# one, and then one draw after another. Methods that get the same views share a sheet.

# %%
for page in ssl_zoo.load_view_pages(run, scans=2).values():
    display(show(view_page(page), dpi=72, pictures=True))

# %% [markdown]
# **Loss.** Each method minimises something else, so that only the course of a curve can be compared, not its height.
# A fall in the loss is no proof of learning: a collapsed network has a low loss too.

# %%
histories = ssl_zoo.load_histories(run)
show(figures.loss_curves(histories))

# %% [markdown]
# **Collapse.** The monitors need no labels but the last one. Spread near 0: all images look the same to the network.
# Rank near 1: they differ along one direction only. A cross marks a recorded collapse.

# %%
show(figures.monitor_curves(histories))

# %% [markdown]
# Where each training ended: the mean of the last tenth of its looks, and what happened on the way.

# %%
names = ["loss", "feature_std", "embedding_std", "rankme", "effective_rank", "alignment", "uniformity", "knn_accuracy"]
ends = {
    " ".join(map(str, key[:1] + key[3:])): rows.tail(max(1, len(rows) // 10)).reindex(columns=names).mean()
    for key, rows in histories.items()
}
ended = pd.DataFrame(ends).T.rename_axis("init, seed").dropna(axis=1, how="all")
collapsed = [key[0] for key, rows in histories.items() if "event" in rows and (rows["event"] == "collapse").any()]
print(f"recorded collapses: {', '.join(collapsed) or 'none'}")
show(ended)

# %% [markdown]
# **Was it a fair race?** Frames and steps are what the experiment gives; views and forward passes are what a method
# makes of them.

# %%
budgets = ssl_zoo.load_budgets(run)
shown = ["init", "seed", "frames_seen", "views_seen", "forward_passes", "steps", "batch_size"]
show(budgets[shown].set_index("init"), digits=0)
