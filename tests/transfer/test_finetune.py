from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.transfer.finetune import FinetuneSettings, batches, finetune, lr_factor

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


def test_layers_near_the_input_learn_more_slowly(encoder, striped):
    model = encoder()
    images, labels = striped(8)
    steps = {}

    class Watched(torch.optim.AdamW):
        def __init__(self, groups, **arguments):
            super().__init__(groups, **arguments)
            steps["rates"] = {id(p): group["lr"] for group in self.param_groups for p in group["params"]}
            steps["decay"] = {id(p): group["weight_decay"] for group in self.param_groups for p in group["params"]}

    settings = FinetuneSettings(steps=1, batch_size=4, lr=1.0, layer_decay=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Watched)
        tuned = finetune(model, images, labels, n_classes=2, settings=settings, view=plain_view(model))
    rates = {name: steps["rates"][id(parameter)] for name, parameter in tuned.named_parameters()}
    assert len(steps["rates"]) == len(rates)  # every parameter learns, once
    assert rates["head.weight"] == 1.0
    first, last = rates["encoder.backbone.conv1.0.weight"], rates["encoder.backbone.layer4.0.conv1.weight"]
    assert first < last <= 1.0
    assert first == pytest.approx(0.5 ** round(-np.log2(first)))
    for name, parameter in tuned.named_parameters():
        assert (steps["decay"][id(parameter)] == 0) == (parameter.ndim <= 1), name


def test_every_image_is_seen_once_per_epoch_in_batches_of_one_size():
    drawn = list(batches(10, 4, 10, seed=0))
    assert all(len(rows) == 4 for rows in drawn)
    order = np.concatenate(drawn)
    for epoch in range(4):
        assert sorted(order[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert set(np.concatenate(list(batches(3, 8, 1, seed=0)))) == {0, 1, 2}
    assert not (np.concatenate(list(batches(10, 4, 10, seed=1))) == order).all()


def test_the_learning_rate_warms_up_and_ends_where_it_should():
    settings = FinetuneSettings(steps=100, warmup=0.1, final_lr=0.01)
    rates = [lr_factor(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1
    assert all(np.diff(rates[10:]) <= 0)
    assert rates[-1] == pytest.approx(0.01)
    assert lr_factor(FinetuneSettings(steps=1), 0) == 1


def test_a_loss_that_is_no_number_stops_the_run(encoder, striped):
    model = encoder()
    images, labels = striped(4)
    view = plain_view(model)
    with pytest.raises(FloatingPointError, match="loss is nan at step 1 of 20"):
        finetune(model, images, labels, n_classes=2, settings=QUICK, view=lambda *given: view(*given) * float("nan"))


@pytest.mark.parametrize(
    ("name", "value"), [("batch_size", 1), ("steps", 0), ("lr", 0.0), ("layer_decay", 1.5), ("warmup", 1.0)]
)
def test_impossible_settings_name_the_key(name, value):
    with pytest.raises(UserError, match=name):
        FinetuneSettings(**{name: value})
