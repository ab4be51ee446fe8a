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
# # Failure cases
#
# What does the best classifier of a run still get wrong, on whom, and what do its mistakes share? This notebook reads
# the run that `SSL_ZOO_RUN` names, else `runs/demo`. Looking at test images is for understanding, and for saying in
# which cases not to trust a model: nothing may be chosen by it.

# %%
import pandas as pd

import ssl_zoo
from ssl_zoo.analysis import figures, mistakes
from ssl_zoo.analysis.figures.mistakes import confidence_chart, mistake_sheet, patient_chart, shared_chart
from ssl_zoo.analysis.notebook import chosen_run, show
from ssl_zoo.analysis.style import mode_label, percent

run = chosen_run()
results, predictions = ssl_zoo.load_results(run), ssl_zoo.load_predictions(run)
planes = ssl_zoo.load_planes(run)

# %% [markdown]
# **Which classifier.** Of the mode with the most cells, the init with the highest macro-F1 with the most labels.
# The probabilities of its cells (label seeds, folds) are averaged image by image, so that a mistake is one of the
# setting and not of one draw of labels.

# %%
setting = mistakes.best_setting(results, predictions)
images = mistakes.image_table(results, predictions, setting)
print(
    f"run {run.name}: {setting.init} on {setting.backbone}, {mode_label(setting.mode)}, "
    f"{percent(setting.fraction)} of the labels, {setting.cohort} test cohort: "
    f"{images['wrong'].sum()} of {len(images)} images of {images['patient_id'].nunique()} patients are wrong"
)

# %% [markdown]
# **The surest mistakes.** These matter most in use: no threshold on the confidence holds them back.

# %%
surest = images[images["wrong"]].head(18)
show(mistake_sheet(planes.images[planes.rows_of(surest)], surest) if len(surest) else None, pictures=True)

# %% [markdown]
# **How sure, right and wrong.** The further apart the two, the more mistakes a threshold on the confidence holds
# back.

# %%
show(confidence_chart(images))

# %% [markdown]
# What a threshold would do: the share of images that are kept, and the accuracy among them.

# %%
kept = {
    f"at least {at:.1f}": {
        "kept": (own := images[images["confidence"] >= at]).shape[0] / len(images),
        "accuracy": 1 - own["wrong"].mean(),
        "mistakes_left": float(own["wrong"].sum() / max(1, images["wrong"].sum())),
    }
    for at in (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
}
show(pd.DataFrame(kept).T)

# %% [markdown]
# **What is taken for what.** Every init at the same setting, in per cent of each true class.

# %%
where = {"mode": setting.mode, "fraction": setting.fraction, "cohort": setting.cohort}
show(figures.confusion_matrices(results, predictions, **where))

# %% [markdown]
# The pairs of classes that the chosen classifier mixes up most often, and on how many patients.

# %%
show(mistakes.confusion_pairs(images).head(8))

# %% [markdown]
# **On whom.** If mistakes fell on patients by lot, some patient would still come out worst: the band shows how bad. A
# dot above the band at the left is a patient who is hard for a reason.

# %%
show(patient_chart(mistakes.patient_table(images)))

# %% [markdown]
# **Do all inits fail on the same images?** For each image, how many inits get it wrong, beside what it would be if
# each failed by lot within a class. Too many images at both ends: some are easy for all, and some are hard for all,
# whatever the pre-training.

# %%
wrong = mistakes.wrong_by_init(results, predictions, setting)
labels = images.set_index(mistakes.IMAGE)["label"]
show(shared_chart(mistakes.shared_mistakes(wrong, labels)))

# %% [markdown]
# The images that no init gets right, those first of which the chosen classifier is surest.

# %%
hard = images[images["wrong"] & images.set_index(mistakes.IMAGE).index.isin(wrong.index[wrong.all(axis=1)])].head(12)
print(f"{wrong.all(axis=1).sum()} of {len(wrong)} images are wrong with all {wrong.shape[1]} inits")
show(mistake_sheet(planes.images[planes.rows_of(hard)], hard) if len(hard) else None, pictures=True)

# %% [markdown]
# **What mistakes share.** Plain facts of the pixels, wrong against right, in standard deviations within a class; the
# interval is over patients. An interval that leaves 0 aside marks something that mistakes have in common beyond their
# class.

# %%
facts = mistakes.looks_of_images(planes.images[planes.rows_of(images)])
show(mistakes.in_common(images, facts))
