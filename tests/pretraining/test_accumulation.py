"""A batch that passes in parts is the whole batch, or it is refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.pretraining.trainer import pretrain
from tests.pretraining.short_runs import budget_of, history_of, settings_of, weights


@pytest.mark.parametrize("method", ["mae"])
def test_parts_of_a_batch_add_up_to_the_whole(tmp_path, store, method):
    for parts in (1, 4):
        pretrain(settings_of(method, accumulate=parts), store, tmp_path / str(parts))
    whole, parted = weights(tmp_path / "1"), weights(tmp_path / "4")
    for name in whole:
        torch.testing.assert_close(parted[name], whole[name], atol=1e-5, rtol=1e-4, msg=name)
    for one, other in zip(history_of(tmp_path / "1"), history_of(tmp_path / "4"), strict=True):
        assert other == pytest.approx(one, rel=1e-3)
    assert budget_of(tmp_path / "4")["forward_passes"] == budget_of(tmp_path / "1")["forward_passes"] == 64


def test_a_teacher_and_a_queue_move_once_for_all_parts(tmp_path, store):
    settings = settings_of("moco", backbone="vit_micro_patch8")  # no BatchNorm anywhere
    for parts in (1, 2):
        pretrain(dataclasses.replace(settings, accumulate=parts), store, tmp_path / str(parts))
    whole, parted = weights(tmp_path / "1"), weights(tmp_path / "2")
    for name in whole:
        torch.testing.assert_close(parted[name], whole[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("method", "reason"),
    [("simclr", "its loss couples the images"), ("barlow_twins", "its loss couples"), ("byol", "its BatchNorm")],
)
def test_a_method_that_couples_the_images_of_a_batch_is_refused(tmp_path, store, method, reason):
    with pytest.raises(UserError, match=f"accumulate is 2, and {method} cannot be trained in parts.*{reason}"):
        pretrain(settings_of(method, accumulate=2), store, tmp_path / "e")


def test_parts_that_are_not_equal_are_refused(tmp_path, store):
    with pytest.raises(UserError, match="batch_size is 16 and does not divide into 1 processes with 3 equal parts"):
        pretrain(settings_of("mae", accumulate=3), store, tmp_path / "e")
