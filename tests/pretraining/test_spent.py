"""What a run says it has spent is what a reader of the papers would count."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from ssl_zoo.methods import METHODS
from ssl_zoo.pretraining.processes import connect
from ssl_zoo.pretraining.settings import build_method
from ssl_zoo.pretraining.spent import Ledger, Memory, Spent
from ssl_zoo.pretraining.trainer import pretrain
from tests.pretraining.short_runs import budget_of, settings_of

# Images through a backbone for each frame drawn: two views, each also by a teacher in BYOL; MoCo's teacher sees the
# second view only, its student the first; DINO's student sees two large and four small crops, its teacher the large.
PASSES = {
    "barlow_twins": 2,
    "simclr": 2,
    "vicreg": 2,
    "moco": 2,
    "byol": 4,
    "dino": 8,
    "mae": 1,
    "autoencoder": 1,
    "inpainting_autoencoder": 1,
}


@pytest.mark.parametrize("method", METHODS)
def test_images_through_networks_are_counted_and_those_of_monitors_are_not(tmp_path, store, method):
    pretrain(settings_of(method, frames_seen=48), store, tmp_path / "e")
    budget = budget_of(tmp_path / "e")
    assert budget["forward_passes"] == 48 * PASSES[method]
    assert budget["views_seen"] == 48 * (6 if method == "dino" else min(2, PASSES[method]))
    pixels = 48 * (4 * 32**2 + 4 * 16**2 if method == "dino" else PASSES[method] * 32**2)
    assert budget["megapixels_seen"] == pytest.approx(pixels / 1e6, abs=0.0006)
    assert (budget["devices"], budget["collapsed_at_step"]) == (1, None)


def test_what_earlier_starts_have_spent_is_added_to():
    method, _ = build_method(settings_of("byol"))
    memory = Memory(torch.device("cpu"))
    ledger = Ledger(method, method.backbone, connect("cpu", "fp32"), memory, Spent(10, 100, 1.5, 1e6))
    views = list(torch.rand(2, 4, 1, 32, 32))
    ledger.views += 8
    method(views)
    with ledger.paused():
        method(views)
    assert ledger.total() == Spent(18, 116, 1.5 + 16 * 32**2 / 1e6, 1e6)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can measure the peak of a part of a process's life")
def test_the_peak_of_a_run_is_its_own():
    earlier = np.ones(300 * 2**17)  # 300 MB
    del earlier
    memory = Memory(torch.device("cpu"))
    own = np.ones(150 * 2**17)
    del own
    assert memory.peak_mb() == pytest.approx(150, abs=40)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can measure the peak of a part of a process's life")
def test_what_an_earlier_run_has_freed_and_the_process_kept_is_counted_when_it_is_used_again():
    earlier = [torch.ones(2**13) for _ in range(4000)]  # 125 MB in pieces that the allocator keeps
    keeper = torch.ones(2**13)  # behind them, so that the end of the heap cannot simply be cut off
    del earlier
    memory = Memory(torch.device("cpu"))
    own = [torch.ones(2**13) for _ in range(4000)]
    assert memory.peak_mb() == pytest.approx(125, abs=40)
    del own, keeper
