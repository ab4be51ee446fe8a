"""Moving averages, temperatures, rates and decays equal their papers' closed forms at every step of a run."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from ssl_zoo.methods import METHODS
from ssl_zoo.training.optim import build_optimizer, set_schedule

STEPS = 40


def rising(progress: float) -> float:
    """BYOL, section 3.2: 1 - (1 - tau) (cos(pi k / K) + 1) / 2, from the suite's 0.99."""
    return 1 - 0.01 * (math.cos(math.pi * progress) + 1) / 2


TEACHERS = {  # method: its teacher's parts and the networks that they follow, momentum by the share of steps done
    "moco": (["teacher.0", "teacher.1"], ["backbone", "projector"], lambda p: 0.99),
    "byol": (
        ["teacher.0", "teacher.1"],
        ["backbone", "projector"],
        rising,
    ),
    "dino": (["teacher", "teacher_head"], ["backbone", "head"], rising),
}


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_every_weight_of_a_teacher_equals_its_moving_average_at_every_step(tiny, name, kind):
    method = tiny.build(name, kind)
    teachers, students, momentum_at = TEACHERS[name]
    pairs = [
        (teacher, student)
        for part, network in zip(teachers, students, strict=True)
        for teacher, student in zip(
            method.get_submodule(part).parameters(), method.get_submodule(network).parameters(), strict=True
        )
    ]
    assert len(pairs) == len([key for key, _ in method.named_parameters() if key.startswith("teacher")])
    expected = [teacher.detach().double().clone() for teacher, _ in pairs]
    generator = torch.Generator().manual_seed(0)
    for number in range(1, 11):
        with torch.no_grad():
            for _, student in pairs:
                student.add_(torch.randn(student.shape, generator=generator), alpha=0.1)
        method.after_step(number / 10)
        momentum = momentum_at(number / 10)
        for i, (teacher, student) in enumerate(pairs):
            expected[i] = momentum * expected[i] + (1 - momentum) * student.detach().double()
            torch.testing.assert_close(teacher.detach().double(), expected[i], rtol=1e-4, atol=1e-5)


def test_dinos_temperature_is_linear_then_constant_at_every_step(tiny, monkeypatch):
    method = tiny.build("dino", "vit")
    views, used = tiny.views_for(method, 2), []
    criterion = method.criterion.forward
    monkeypatch.setattr(
        method.criterion, "forward", lambda *outputs, teacher_temp: used.append(teacher_temp) or criterion(*outputs)
    )
    for step in range(STEPS):
        method(views)
        method.after_step((step + 1) / STEPS)
    expected = [0.04 + 0.03 * min(step / (0.3 * STEPS), 1) for step in range(STEPS)]
    assert used == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_rate_and_decay_of_each_recipe_equal_their_closed_forms_at_every_step(tiny, name):
    recipe = METHODS[name].recipe
    method = tiny.build(name, "vit" if METHODS[name].needs == "vit" else "cnn")
    optimizer = build_optimizer(method, recipe, batch_size=64)
    peak = {  # at a batch of 64, from each paper's rule
        "barlow_twins": 0.2 / 4,
        "simclr": 0.3 / 4,
        "moco": 0.03 / 4,
        "byol": 0.45 / 4,
        "mae": 1.5e-4 / 4,
        "dino": 5e-4 / 4,
        "vicreg": 0.5 / 4,
        "autoencoder": 1e-3,
        "inpainting_autoencoder": 1e-3,
    }[name]
    warmup = {"moco": 0, "mae": 2, "autoencoder": 0, "inpainting_autoencoder": 0}.get(name, 4)
    end = {"barlow_twins": 0.001, "vicreg": 0.002, "dino": 0.002}.get(name, 0.0)
    decay = {"barlow_twins": 1.5e-6, "moco": 1e-4, "byol": 1.5e-6, "mae": 0.05}.get(name, 1e-6)
    for step in range(STEPS):
        set_schedule(optimizer, recipe, step, STEPS)
        if step < warmup:
            factor = (step + 1) / warmup
        elif name.endswith("autoencoder"):
            factor = 0.5624 ** (step // 2)
        else:
            factor = end + (1 - end) * (1 + math.cos(math.pi * (step - warmup) / (STEPS - 1 - warmup))) / 2
        if name == "dino":
            decay = 0.4 + (0.04 - 0.4) * (1 + math.cos(math.pi * step / (STEPS - 1))) / 2
        groups = {group["name"]: group for group in optimizer.param_groups}
        assert groups["weights"]["lr"] == pytest.approx(peak * factor, rel=1e-9, abs=1e-15)
        assert groups["weights"]["weight_decay"] == pytest.approx(decay)
        scale = 0.0048 / 0.2 if name == "barlow_twins" else 1
        assert groups["biases"]["lr"] == pytest.approx(peak * factor * scale, rel=1e-9, abs=1e-15)
        assert groups["biases"]["weight_decay"] == 0


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].recipe.optimizer == "lars"])
def test_lars_leaves_every_bias_and_norm_of_a_method_to_plain_sgd_and_adapts_the_rest(tiny, name):
    method = tiny.build(name, "cnn")
    optimizer = build_optimizer(method, method.recipe, batch_size=256)
    before = {key: value.detach().clone() for key, value in method.named_parameters()}
    method(tiny.views_for(method, 8)).loss.backward()
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    optimizer.step()
    checked = set()
    for key, value in method.named_parameters():
        if value.grad is None or not value.grad.any():
            continue
        moved, rate = value.detach() - before[key], rates[id(value)]
        flat = value.ndim == 1
        checked.add(flat)
        if flat:  # biases and norms
            torch.testing.assert_close(moved, -rate * value.grad, rtol=1e-3, atol=1e-7)
        else:  # the step of a weight matrix is a thousandth of its norm, whatever its gradient
            assert float(moved.norm()) == pytest.approx(rate * 0.001 * float(before[key].norm()), rel=0.01)
    assert checked == {True, False}


def test_dinos_second_head_starts_as_the_first_and_shares_nothing_with_it(tiny):
    # lightly's head cannot be deep-copied, for torch keeps its normed weight as a computed tensor.
    method = tiny.build("dino", "cnn")
    features = torch.randn(3, method.width)
    assert torch.equal(method.head(features), method.teacher_head(features))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(method.head)
    own = {value.data_ptr() for value in method.head.parameters()}
    assert own.isdisjoint({value.data_ptr() for value in method.teacher_head.parameters()})


def test_mae_holds_no_mask_token_that_nothing_uses(tiny):
    method = tiny.build("mae", "vit")
    assert [key for key, _ in method.named_parameters() if "mask_token" in key] == ["decoder.mask_token"]
    method([tiny.frames(4)]).loss.backward()
    assert method.decoder.mask_token.grad.any()
