"""Watching the encoder by labelled images leaves one patient out, and leaves no trace in the training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from ssl_zoo.encoders.files import Card
from ssl_zoo.errors import UserError
from ssl_zoo.pretraining.probe_monitor import LabelledImages, evaluating, neighbour_accuracy
from ssl_zoo.pretraining.trainer import pretrain
from tests.pretraining.short_runs import history_of, same_weights, settings_of

CARD = Card(backbone="", size=8, channels=1, mean=[0.0], std=[1.0])


class Corners(nn.Module):
    """Features of an image are the brightness of its four corners."""

    def forward(self, images):
        return images[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]


def images_of(corners):
    """uint8 images `[N, 8, 8]` with the given brightness 0..1 of their corners `[N, 4]`."""
    images = np.zeros((len(corners), 8, 8), np.uint8)
    for k, (row, column) in enumerate([(0, 0), (0, -1), (-1, 0), (-1, -1)]):
        images[:, row, column] = 255 * np.asarray(corners)[:, k]
    return images


def accuracy(corners, labels, patients):
    labelled = LabelledImages(images_of(corners), np.array(labels), np.array(patients))
    return neighbour_accuracy(Corners(), CARD, labelled, torch.device("cpu"))


def test_images_whose_label_is_that_of_their_neighbours_are_all_right():
    corners = np.tile(np.eye(4)[:2], (30, 1))
    assert accuracy(corners, [5, 9] * 30, np.repeat(list("abc"), 20)) == 1.0


def test_images_of_the_same_patient_have_no_vote():
    # Each patient has a look of its own, and the label goes with the patient: only the patient could give it away.
    corners = np.repeat(np.eye(4), 10, axis=0)
    assert accuracy(corners, np.repeat([0, 0, 1, 1], 10), np.repeat(list("abcd"), 10)) < 0.6
    assert accuracy(corners, np.repeat([0, 1, 0, 1], 10), np.tile(list("abcd"), 10)) == 1.0


def test_the_nearer_neighbours_have_the_stronger_vote():
    corners = [[1, 0, 0, 0], [1, 0.1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0.1], [0, 1, 0.1, 0]]
    assert accuracy(corners, [0, 0, 1, 1, 1], ["a", "b", "c", "d", "e"]) == 1.0


def test_what_cannot_be_watched_by_is_refused():
    images, labels = np.zeros((4, 8, 8), np.uint8), np.zeros(4)
    with pytest.raises(UserError, match="two patients"):
        LabelledImages(images, labels, np.array(["a"] * 4))
    with pytest.raises(UserError, match="4 images, 4 labels and 3 patients"):
        LabelledImages(images, labels, np.array(["a"] * 3))
    with pytest.raises(UserError, match="float32"):
        LabelledImages(images.astype(np.float32), labels, np.array(list("abcd")))


def test_evaluating_gives_every_part_its_mode_and_buffers_back():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.BatchNorm2d(4))
    network.train()
    network[3].eval()  # one part was put into evaluation mode on purpose
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images, random_state = torch.rand(8, 1, 8, 8), torch.get_rng_state()
    with evaluating(network):
        assert not any(part.training for part in network.modules())
        assert not torch.is_grad_enabled()
        network(images)
    assert [part.training for part in network] == [True, True, True, False]
    assert torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("method", ["simclr", "dino"])
def test_the_weights_are_the_same_to_the_bit_whether_one_watches_or_not(tmp_path, store, method):
    scan = store.index["scan_id"].factorize()[0]
    labelled = LabelledImages(np.array(store.frames)[::2], scan[::2] % 2, store.index["patient_id"].to_numpy()[::2])
    settings = settings_of(method, steps=4)
    pretrain(settings, store, tmp_path / "watched", labelled=labelled)
    pretrain(settings, store, tmp_path / "alone")
    assert same_weights(tmp_path / "watched", tmp_path / "alone")
    watched, alone = history_of(tmp_path / "watched"), history_of(tmp_path / "alone")
    found = [row.pop("knn_accuracy") for row in watched if "knn_accuracy" in row]
    assert len(found) == 4
    assert all(0 <= value <= 1 for value in found)
    assert watched == alone


def test_an_error_within_evaluating_does_not_leave_the_mode_behind():
    network = nn.Sequential(nn.Dropout())
    with pytest.raises(TypeError), evaluating(network):
        network("no image")
    assert network[0].training
    assert torch.is_grad_enabled()


def test_colour_images_and_other_sizes_can_be_watched_by(tmp_path, store):
    images = np.repeat(np.array(store.frames)[:, :24, :24, None], 3, axis=3)
    labelled = LabelledImages(images, np.arange(64) % 2, store.index["patient_id"].to_numpy())
    colour = dataclasses.replace(store, frames=np.repeat(np.array(store.frames)[..., None], 3, axis=3))
    pretrain(settings_of(steps=2, channels=3), colour, tmp_path / "e", labelled=labelled)
    assert 0 <= history_of(tmp_path / "e")[-1]["knn_accuracy"] <= 1
