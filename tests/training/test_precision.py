from __future__ import annotations

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.training.precision import autocast, resolve_precision


def test_precision_names_mean_a_number_format():
    assert resolve_precision("fp32", "cpu") is None
    assert resolve_precision("bf16", "cpu") is torch.bfloat16
    assert resolve_precision("auto", "cpu") in (None, torch.bfloat16)
    with pytest.raises(UserError, match="did you mean 'bf16'"):
        resolve_precision("bf", "cpu")


def test_autocast_computes_products_in_that_format():
    matrix = torch.ones(2, 2)
    with autocast("cpu", "bf16"):
        assert (matrix @ matrix).dtype is torch.bfloat16
    with autocast("cpu", "fp32"):
        assert (matrix @ matrix).dtype is torch.float32
