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
# # Label efficiency
#
# How much does pre-training add at each number of labels, and how many labels does it save? This notebook reads one
# run folder: the one that `SSL_ZOO_RUN` names, else `runs/demo`. The demo is synthetic: its numbers say that the
# suite works, not which method is better on patients.

# %%
import ssl_zoo
from ssl_zoo.analysis import figures
from ssl_zoo.analysis.findings import find
from ssl_zoo.analysis.looks import looks_of
from ssl_zoo.analysis.notebook import chosen_run, show
from ssl_zoo.analysis.style import mode_label, percent

run = chosen_run()
results, predictions = ssl_zoo.load_results(run), ssl_zoo.load_predictions(run)
counts = results.groupby(["cohort", "mode"]).agg(
    inits=("init", "nunique"), fractions=("fraction", "nunique"), cells=("cell", "nunique")
)
print(f"run {run.name}: {results['cell'].nunique()} cells, {predictions['patient_id'].nunique()} test patients")
show(counts.reset_index())

# %% [markdown]
# All statistics come from one call: scores averaged over the cells of a setting, 95 % intervals from drawing the test
# patients anew, and each init paired with the untrained network of its own backbone on the same draws.

# %%
found = find(results, predictions)
table = found.estimates.table
starts = looks_of(table)

# %% [markdown]
# **The curves.** Macro-F1 against the labelled fraction; below a fraction stands how many patients it is. Dashed grey
# is the untrained network: a curve is to be compared with the grey one of its own backbone.

# %%
show(figures.label_efficiency(table, starts))

# %% [markdown]
# **The gain.** The same, as the difference from the untrained network. Where a band leaves the zero line aside, the
# gain (or the loss) is not the luck of these test patients, before any correction for looking many times.

# %%
cohort = "internal" if "internal" in set(table["cohort"]) else table["cohort"].iloc[0]
show(figures.gains(table, cohort, starts))

# %% [markdown]
# **After the correction.** The surest gains and losses, with p-values by Holm over all inits of a mode, fraction and
# cohort.

# %%
columns = [
    "init",
    "mode",
    "fraction",
    "cohort",
    "f1_macro",
    "difference",
    "difference_low",
    "difference_high",
    "p_holm",
]
surest = table.dropna(subset="difference").sort_values(["p_holm", "difference"], ascending=[True, False])
show(surest[columns].head(12).reset_index(drop=True), digits=3)

# %% [markdown]
# **Labels saved.** With which fraction does an init reach what the untrained network has with all labels? An arrow:
# with the smallest fraction tried already. Hollow, in the grey strip: not at all.

# %%
show(figures.labels_saved_chart(found.saved, starts))

# %% [markdown]
# **Is there one order?** The rank of each init in every mode and fraction, and how often it takes each place when
# patients are drawn anew. A row that is spread out has no sure place.

# %%
show(None if found.ranking is None else figures.rank_chart(found.ranking, starts))

# %% [markdown]
# **How much is the draw of labels?** The spread of macro-F1 over label seeds (standard deviation): with few labels it
# is often larger than the gap between two methods, which is why one seed decides nothing.

# %%
own = results[results["cohort"] == cohort]
own = own.assign(start=[starts[start].label for start in zip(own["init"], own["backbone"], strict=True)])
spread = own.groupby(["mode", "fraction", "start"])["f1_macro"].agg(["std", "count"])
spread = spread[spread["count"] > 1]["std"].unstack("start")
spread = spread.rename(
    index={mode: mode_label(mode) for mode in own["mode"]} | {f: percent(f) for f in own["fraction"]}
)
show(spread if len(spread) else None, digits=3)
