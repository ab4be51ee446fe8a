"""The ways in which a pre-training run ends before its budget is spent."""

from __future__ import annotations


class Diverged(ArithmeticError):
    """The loss, or the norm of the gradient, is no longer a finite number."""


class Collapsed(ArithmeticError):
    """The network no longer tells images apart; see `pretraining.collapse`."""


class Interrupted(Exception):
    """The run was asked to stop, and has left a checkpoint from which it goes on when it is started again."""
