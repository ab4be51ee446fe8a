from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from ssl_zoo.planes.images import ImageRows
from ssl_zoo.transfer import finetune as finetune_module
from ssl_zoo.transfer.finetune import Classifier, balanced_log_loss, batches, choose_lr, finetune
from ssl_zoo.transfer.finetune_settings import FinetuneSettings, lr_factor, parameter_groups
from ssl_zoo.transfer.probe import GIVEN, INNER_SPLIT, TOO_FEW

QUICK = FinetuneSettings(steps=20, batch_size=8, precision="fp32", dropout=0.2)


def plain_view(model):
    """No augmentation."""
    return lambda images, generator: model.normalise(images)


@pytest.mark.parametrize("backbone", ["resnet10t", "vit_micro_patch8"])
def test_fine_tuning_learns_and_leaves_the_encoder_alone(encoder, striped, backbone):
    model = encoder(backbone)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = striped(24)
    classifier = finetune(model, images, labels, n_classes=2, settings=QUICK, view=plain_view(model))
    unseen, truth = striped(40, seed=1)
    probabilities = classifier.predict(unseen)
    assert probabilities.shape == (40, 2)
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    assert (probabilities.argmax(1) == truth).mean() > 0.9
    assert len(classifier.losses) == 20
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_seed_repeats_bit_for_bit_and_another_differs(encoder, striped):
    images, labels = striped(12)
    settings = FinetuneSettings(steps=4, batch_size=4, dropout=0.5)
    state = torch.get_rng_state()
    runs = [finetune(encoder(), images, labels, n_classes=2, settings=settings, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (run.predict(images) for run in runs)
    assert (first == again).all()
    assert not (first == other).all()


def test_the_default_views_take_images_of_any_channel_count(encoder, striped):
    images, labels = striped(6)
    settings = FinetuneSettings(steps=1, batch_size=2)
    colour = np.repeat(images[..., None], 3, -1)
    for channels in (1, 3):
        for given in (images, colour):
            model = finetune(encoder(channels=channels), given, labels, n_classes=2, settings=settings)
            assert np.isfinite(model.predict(given)).all()


def test_the_optimiser_takes_every_step_at_its_own_rate(encoder, striped):
    model, (images, labels) = encoder(), striped(8)
    taken = []

    class Watched(torch.optim.AdamW):
        def step(self, *given):
            taken.append([group["lr"] for group in self.param_groups])
            return super().step(*given)

    settings = FinetuneSettings(steps=6, batch_size=4, warmup=0.34, lr=2e-3, layer_decay=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Watched)
        finetune(model, images, labels, n_classes=2, settings=settings, view=plain_view(model))
    peaks = np.array([group["lr"] for group in parameter_groups(model.backbone, torch.nn.Linear(512, 2), settings)])
    assert len(set(peaks)) > 2
    assert np.array(taken) == pytest.approx(np.outer([lr_factor(settings, step) for step in range(6)], peaks))


@pytest.mark.parametrize("balanced", [True, False])
def test_class_weights_are_those_of_the_subset_and_can_be_switched_off(encoder, striped, balanced):
    model, (images, _) = encoder(), striped(8)
    labels = np.array([0, 0, 0, 0, 0, 0, 2, 2])  # of four classes two are there
    settings = FinetuneSettings(steps=1, batch_size=8, class_weights=balanced, precision="fp32", head_batchnorm=False)
    tuned = finetune(model, images, labels, n_classes=4, settings=settings, view=plain_view(model))
    (rows,) = batches(8, 8, 1, seed=0)
    started = Classifier(copy.deepcopy(model), 4, dropout=0, generator=torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        logits = started(model.normalise(torch.from_numpy(images[rows]))).double()
    right = -torch.log_softmax(logits, 1)[range(8), labels[rows]].numpy()
    weights = np.array([8 / (2 * 6), 0, 8 / (2 * 2), 0])[labels[rows]] if balanced else np.ones(8)
    assert tuned.losses[0] == pytest.approx((right * weights).sum() / weights.sum(), rel=1e-5)


def test_the_head_learns_on_standardised_features_and_ends_as_a_plain_one(encoder, striped):
    images, _ = striped(16)
    given = {"dropout": 0, "generator": torch.Generator().manual_seed(0), "batchnorm": True}
    model = Classifier(encoder(), 3, **given).train()
    batch = model.encoder.normalise(torch.from_numpy(images))
    seen = []
    model.head.register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0]))
    for _ in range(3):
        model(batch)
    assert seen[-1].mean(0).abs().max() < 1e-3
    assert seen[-1].var(0, unbiased=False).median().item() == pytest.approx(1, abs=0.5)
    before = model.eval()(batch)
    model.fold()
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in model.modules())
    assert torch.allclose(model(batch), before, atol=1e-4)
    assert torch.allclose(model(batch), model.head(model.encoder.backbone(batch)))


def test_a_common_part_of_all_features_does_not_stop_the_head(encoder, striped):
    """Pooled features of ViTs are nearly the same for all images; a head on plain ones stays at chance for long."""
    model = encoder("vit_micro_patch8")
    images, labels = striped(32)
    last = {}
    for batchnorm in (True, False):
        settings = dataclasses.replace(QUICK, steps=8, dropout=0.0, head_batchnorm=batchnorm, layer_decay=0.1)
        tuned = finetune(model, images, labels, n_classes=2, settings=settings, view=plain_view(model))
        last[batchnorm] = np.mean(tuned.losses[-3:])
    assert last[True] < 0.8 * last[False]


def test_rows_of_a_memory_map_train_as_their_copy_does(encoder, striped, tmp_path):
    images, labels = striped(12)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.array([1, 2, 5, 6, 8, 11])
    few = FinetuneSettings(steps=2, batch_size=4)
    first, second = (
        finetune(encoder(), given, labels[rows], n_classes=2, settings=few).predict(ImageRows(mapped, np.arange(3)))
        for given in (ImageRows(mapped, rows), images[rows])
    )
    assert (first == second).all()
    with pytest.raises(IndexError):
        ImageRows(mapped, rows)[np.array([6])]  # only the rows can be reached


def test_the_learning_rate_is_chosen_by_patients_held_out_within_the_subset(encoder, striped, monkeypatch):
    images, labels = striped(24)
    patients = np.array([f"P{k // 4}" for k in range(24)])
    seen = []

    def watched(encoder, images, labels, **given):
        seen.append(images[np.arange(len(images))])
        return finetune(encoder, images, labels, **given)

    monkeypatch.setattr(finetune_module, "finetune", watched)
    model = encoder()
    settings = dataclasses.replace(QUICK, steps=10, lr_choices=(1e-3, 1e-7))
    given = {"n_classes": 2, "settings": settings, "view": plain_view(model)}
    assert choose_lr(model, images, labels, patients, **given) == (1e-3, INNER_SPLIT)
    assert len(seen) == 2
    for trained in seen:
        known = {patients[k] for k in range(24) if (trained == images[k]).all((1, 2)).any()}
        assert len(trained) == 16
        assert len(known) == 4  # whole patients: two of the six are held out


def test_a_rate_that_diverges_is_not_chosen(encoder, striped, monkeypatch):
    images, labels = striped(8)

    def diverges(*given, settings, **more):
        if settings.lr > 1e-6:
            raise FloatingPointError("the loss is nan")
        return finetune(*given, settings=settings, **more)

    monkeypatch.setattr(finetune_module, "finetune", diverges)
    settings = FinetuneSettings(steps=1, batch_size=2, lr_choices=(1e-3, 1e-7))
    patients = np.arange(8) // 2
    given = {"n_classes": 2, "view": plain_view(encoder())}
    assert choose_lr(encoder(), images, labels, patients, settings=settings, **given) == (1e-7, INNER_SPLIT)
    settings = dataclasses.replace(settings, lr_choices=(1e-3, 1e-2))
    with pytest.raises(FloatingPointError, match="every rate"):
        choose_lr(encoder(), images, labels, patients, settings=settings, **given)


def test_without_choices_or_enough_patients_the_given_rate_holds(encoder, striped):
    images, labels = striped(8)
    choices = FinetuneSettings(lr=5e-4, lr_choices=(1e-3, 1e-2))
    none = FinetuneSettings(lr=5e-4)
    assert choose_lr(encoder(), images, labels, labels, n_classes=2, settings=choices) == (5e-4, TOO_FEW)
    assert choose_lr(encoder(), images, labels, np.arange(8), n_classes=2, settings=none) == (5e-4, GIVEN)


def test_the_score_of_a_rate_counts_every_class_the_same():
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.75, 0.25]])
    expected = -(np.log(0.5) + np.log(0.25)) / 2
    assert balanced_log_loss(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(expected)
    assert np.isfinite(balanced_log_loss(np.array([[1.0, 0.0]]), np.array([1])))


def test_every_image_is_seen_once_per_epoch_in_batches_of_one_size():
    drawn = list(batches(10, 4, 10, seed=0))
    assert all(len(rows) == 4 for rows in drawn)
    order = np.concatenate(drawn)
    for epoch in range(4):
        assert sorted(order[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert set(np.concatenate(list(batches(3, 8, 1, seed=0)))) == {0, 1, 2}
    assert not (np.concatenate(list(batches(10, 4, 10, seed=1))) == order).all()


def test_a_loss_that_is_no_number_stops_the_run(encoder, striped):
    model = encoder()
    images, labels = striped(4)
    view = plain_view(model)
    with pytest.raises(FloatingPointError, match="loss is nan at step 1 of 20"):
        finetune(model, images, labels, n_classes=2, settings=QUICK, view=lambda *given: view(*given) * float("nan"))
