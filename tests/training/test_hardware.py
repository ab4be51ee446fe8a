from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_zoo.training.hardware import computed_on
from ssl_zoo.training.precision import resolve_precision
from ssl_zoo.training.versions import PACKAGES, version, versions


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp32"])
def test_what_numbers_are_computed_on_is_told_with_the_format_that_auto_comes_to(precision):
    found = computed_on("cpu", precision)
    assert found["device"] == "cpu"
    assert found["precision"] == ("fp32" if resolve_precision(precision, "cpu") is None else "bf16")
    assert found["processor"]
    assert found["versions"] == {**versions(), "torch": str(torch.__version__)}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_is_told_by_its_name():
    found = computed_on("cuda:0", "fp32")
    assert (found["device"], found["processor"]) == ("cuda", torch.cuda.get_device_name(0))


def test_versions_are_those_that_are_installed():
    assert set(PACKAGES) < set(versions())
    assert versions()["numpy"] == np.__version__
    assert version("no such package") == "not installed"
