"""The figures; each function takes tables or arrays and returns a matplotlib Figure for `style.save`."""

from ssl_zoo.analysis.figures.budgets import budget_bars, budget_table
from ssl_zoo.analysis.figures.confusion import confusion_matrices
from ssl_zoo.analysis.figures.curves import gains, label_efficiency
from ssl_zoo.analysis.figures.diversity import store_diversity
from ssl_zoo.analysis.figures.heatmap import heat_map
from ssl_zoo.analysis.figures.pretraining import loss_curves, monitor_curves
from ssl_zoo.analysis.figures.ranks import rank_chart
from ssl_zoo.analysis.figures.sheets import frame_sheet, plane_sheet
from ssl_zoo.analysis.figures.size_and_diversity import size_and_diversity

__all__ = [
    "budget_bars",
    "budget_table",
    "confusion_matrices",
    "frame_sheet",
    "gains",
    "heat_map",
    "label_efficiency",
    "loss_curves",
    "monitor_curves",
    "plane_sheet",
    "rank_chart",
    "size_and_diversity",
    "store_diversity",
]
