"""What every method promises to whoever trains it."""

from __future__ import annotations

import copy

import pytest
import timm
import torch

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, load_encoder, save_encoder
from ssl_zoo.errors import UserError
from ssl_zoo.methods import METHODS
from ssl_zoo.training.optim import build_optimizer
from ssl_zoo.training.views import VIEWS

CASES = [(name, kind) for name in METHODS for kind in ("cnn", "vit") if METHODS[name].needs in ("any", kind)]
every_method = pytest.mark.parametrize(("name", "kind"), CASES, ids=["-".join(case) for case in CASES])
SLOW = pytest.mark.slow
WITH_TEACHER = ["moco", "byol", "dino"]


def step(method, optimizer, views, seed: int, progress: float) -> float:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    loss = method(views).loss
    loss.backward()
    method.cancel_gradients(progress)
    optimizer.step()
    method.after_step(progress)
    return float(loss.detach())


def teacher_parameters(method) -> dict[str, torch.Tensor]:
    return {name: value for name, value in method.named_parameters() if name.startswith("teacher")}


@every_method
@pytest.mark.parametrize("channels", [1, 3])
def test_one_forward_gives_a_finite_loss_and_gradients_to_every_trainable_parameter(tiny, name, kind, channels):
    method = tiny.build(name, kind, channels)
    output = method(tiny.views_for(method, 8, channels))
    output.loss.backward()

    assert output.loss.shape == ()
    assert torch.isfinite(output.loss)
    assert output.features.shape == (8, method.backbone.num_features)
    assert output.embeddings.shape[0] == 8
    assert not output.features.requires_grad
    assert not output.embeddings.requires_grad
    assert all(part.shape == () and not part.requires_grad for part in output.parts.values())
    without = [key for key, value in method.named_parameters() if value.requires_grad and value.grad is None]
    assert without == []
    dead = [key for key, value in method.named_parameters() if value.grad is not None and not value.grad.any()]
    # On a CNN some are zero at first, behind the last norm of a residual block, which starts at zero.
    assert [key for key in dead if kind == "vit"] == []
    assert all(value.grad is None and not value.requires_grad for value in teacher_parameters(method).values())


@every_method
@pytest.mark.parametrize("batch", [2, 5, 19])
def test_a_batch_of_any_size_from_two_works_after_another(tiny, name, kind, batch):
    method = tiny.build(name, kind)
    for size in (8, batch):
        assert torch.isfinite(method(tiny.views_for(method, size)).loss)
        method.after_step(0.5)


@every_method
def test_the_loss_is_float32_under_bfloat16(tiny, name, kind):
    method = tiny.build(name, kind)
    views = tiny.views_for(method, 8)
    torch.manual_seed(1)
    exact = method(views).loss
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        output = method(views)
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert output.loss.item() == pytest.approx(exact.item(), rel=0.1)


@every_method
def test_saved_loaded_and_continued_equals_never_stopped(tiny, name, kind):
    method = tiny.build(name, kind)
    optimizer = build_optimizer(method, method.recipe, batch_size=8)
    views = tiny.views_for(method, 8)
    for number in range(2):
        step(method, optimizer, views, number, progress=0.2 * (number + 1))
    saved = copy.deepcopy((method.state_dict(), optimizer.state_dict()))

    other = tiny.build(name, kind, seed=7)
    other_optimizer = build_optimizer(other, other.recipe, batch_size=8)
    other.load_state_dict(saved[0])
    other_optimizer.load_state_dict(saved[1])
    for trained, trainer in ((method, optimizer), (other, other_optimizer)):
        step(trained, trainer, views, 3, progress=0.6)
        step(trained, trainer, views, 4, progress=0.8)
    weights = other.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in method.state_dict().items())


@every_method
def test_a_look_in_evaluation_mode_changes_nothing_that_is_saved(tiny, name, kind):
    method = tiny.build(name, kind)
    method(tiny.views_for(method, 8))
    method.after_step(0.2)
    before = copy.deepcopy(method.state_dict())
    method.eval()(tiny.views_for(method, 8, seed=1))
    after = method.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@every_method
def test_the_exported_encoder_gives_the_trained_networks_features_to_the_bit(tiny, tmp_path, name, kind):
    network = {"cnn": "resnet10t", "vit": "vit_micro_patch8"}[kind]
    method = METHODS[name](build_backbone(network, channels=1, size=32), **tiny.small.get(name, {}))
    optimizer = build_optimizer(method, method.recipe, batch_size=256)
    step(method, optimizer, tiny.views_for(method, 4), 0, progress=0.5)
    encoder = method.encoder()
    assert encoder is (method.teacher if method.role == "teacher" else method.backbone)
    card = Card(backbone=network, size=32, channels=1, mean=[0.0], std=[1.0], init=name)
    save_encoder(tmp_path / name, encoder, card)

    frames = tiny.frames(4)
    features = encoder.eval()(frames)
    assert features.shape == (4, method.width)
    assert torch.equal(load_encoder(tmp_path / name)(frames), features)


@pytest.mark.parametrize(
    "network", ["tiny", pytest.param("small", marks=SLOW), pytest.param("base", marks=SLOW), "large"]
)
@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].needs != "cnn"])
def test_every_width_of_timms_vits_trains(tiny, name, network):
    backbone = timm.create_model(f"vit_{network}_patch16_224", num_classes=0, in_chans=1, img_size=32, depth=1)
    method = METHODS[name](backbone, **tiny.small.get(name, {}))
    method(tiny.views_for(method, 2)).loss.backward()
    assert [key for key, value in method.named_parameters() if value.requires_grad and value.grad is None] == []


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_a_teacher_moves_once_per_step_and_never_in_forward(tiny, name):
    method = tiny.build(name, "cnn")
    optimizer = build_optimizer(method, method.recipe, batch_size=256)
    views = tiny.views_for(method, 8)
    before = {key: value.clone() for key, value in teacher_parameters(method).items()}
    method(views).loss.backward()
    assert all(torch.equal(before[key], value) for key, value in teacher_parameters(method).items())
    optimizer.step()
    method.after_step(0.5)
    moved = {key: value.clone() for key, value in teacher_parameters(method).items()}
    assert any(not torch.equal(before[key], value) for key, value in moved.items())
    method(views)  # nor in the next one
    assert all(torch.equal(moved[key], value) for key, value in teacher_parameters(method).items())


@every_method
def test_the_loss_falls_on_64_frames(tiny, name, kind):
    method = tiny.build(name, kind, **({"center_momentum": 0.5} if name == "dino" else {}))
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    views = tiny.views_for(method, 64)
    # The first loss against a queue of noise, or from a teacher not yet centred, means nothing.
    for _ in range({"moco": 3, "dino": 6}.get(name, 0)):
        with torch.no_grad():
            method(views)
        method.after_step(0.0)
    losses = [step(method, optimizer, views, 0, progress=0.5) for _ in range(10)]
    assert losses[-1] < losses[0]


def test_every_method_names_a_view_recipe_and_its_paper():
    for method in METHODS.values():
        assert method.views in VIEWS
        assert method.paper.count(".") == 1
        assert method.__doc__
        assert method.family
        assert method.scope in ("sample", "batch")
    assert [name for name, method in METHODS.items() if method.negatives] == ["simclr", "moco"]


def test_mae_refuses_a_convolutional_backbone(tiny):
    with pytest.raises(UserError, match="MAE needs a timm vision transformer"):
        tiny.build("mae", "cnn")
