"""The figures; each function takes tables or arrays and returns a matplotlib Figure for `style.save`."""

from ssl_zoo.analysis.figures.atlas import atlas_chart
from ssl_zoo.analysis.figures.budgets import budget_bars, budget_table
from ssl_zoo.analysis.figures.confusion import confusion_matrices
from ssl_zoo.analysis.figures.critical_difference import critical_difference_chart
from ssl_zoo.analysis.figures.curves import gains, label_efficiency
from ssl_zoo.analysis.figures.diversity import store_diversity
from ssl_zoo.analysis.figures.heatmap import heat_map
from ssl_zoo.analysis.figures.labels_saved import labels_saved_chart
from ssl_zoo.analysis.figures.pairwise import pairwise_matrices
from ssl_zoo.analysis.figures.pretraining import loss_curves, monitor_curves
from ssl_zoo.analysis.figures.ranks import rank_chart
from ssl_zoo.analysis.figures.reliability import reliability_diagrams
from ssl_zoo.analysis.figures.sheets import frame_sheet, plane_sheet
from ssl_zoo.analysis.figures.size_and_diversity import size_and_diversity

__all__ = [
    "atlas_chart",
    "budget_bars",
    "budget_table",
    "confusion_matrices",
    "critical_difference_chart",
    "frame_sheet",
    "gains",
    "heat_map",
    "label_efficiency",
    "labels_saved_chart",
    "loss_curves",
    "monitor_curves",
    "pairwise_matrices",
    "plane_sheet",
    "rank_chart",
    "reliability_diagrams",
    "size_and_diversity",
    "store_diversity",
]
