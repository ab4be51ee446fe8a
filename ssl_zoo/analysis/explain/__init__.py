"""Explanations: where a classifier looks, and whether its maps mean anything."""

from ssl_zoo.analysis.explain.explain import Explained, explain

__all__ = ["Explained", "explain"]
