"""Parameter groups, LARS, and the closed form of the schedule."""

from __future__ import annotations

import copy
import math

import pytest
import timm
import torch
from torch import nn

from ssl_zoo.errors import UserError
from ssl_zoo.methods import METHODS, Recipe
from ssl_zoo.training.optim import build_optimizer, lr_factor, peak_lr, set_schedule, weight_decay_at

torch.set_num_threads(1)
LARS = Recipe(optimizer="lars", base_lr=0.2, weight_decay=1e-6, bias_lr_scale=0.024, final_lr=0.001)


class Tiny(nn.Module):
    """One weight matrix, one norm, a token, and a frozen teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.teacher = nn.Linear(4, 3).requires_grad_(False)


def groups(optimizer) -> dict[str, dict]:
    return {group["name"]: group for group in optimizer.param_groups}


@pytest.mark.parametrize("weight_decay", [0.0, 1e-6])
def test_only_weight_matrices_decay_and_every_trainable_parameter_is_in_one_group(weight_decay):
    model = Tiny()
    recipe = Recipe(optimizer="adamw", base_lr=1e-3, weight_decay=weight_decay)
    found = groups(build_optimizer(model, recipe, batch_size=256))
    assert [id(p) for p in found["weights"]["params"]] == [id(model.linear.weight)]
    rest = {id(p) for p in found["biases"]["params"]}
    assert rest == {id(p) for p in (model.linear.bias, *model.norm.parameters(), model.mask_token)}
    assert found["weights"]["weight_decay"] == weight_decay
    assert found["biases"]["weight_decay"] == 0


def test_tokens_and_positions_of_a_vit_inside_a_method_do_not_decay():
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=1, reg_tokens=1)
    method = METHODS["simclr"](vit)
    rest = {id(p) for p in groups(build_optimizer(method, method.recipe, batch_size=8))["biases"]["params"]}
    assert {id(vit.cls_token), id(vit.reg_token), id(vit.pos_embed)} <= rest


def test_the_learning_rate_follows_the_batch_and_that_of_biases_its_scale():
    found = groups(build_optimizer(Tiny(), LARS, batch_size=512))
    assert found["weights"]["lr"] == pytest.approx(0.4)
    assert found["biases"]["lr"] == pytest.approx(0.4 * 0.024)


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_lars_adapts_weights_with_or_without_decay_and_leaves_biases_to_plain_sgd(weight_decay):
    torch.manual_seed(0)
    model = Tiny()
    recipe = Recipe(optimizer="lars", base_lr=1.0, weight_decay=weight_decay)
    optimizer = build_optimizer(model, recipe, batch_size=256)
    weight, bias = model.linear.weight.detach().clone(), model.linear.bias.detach().clone()
    loss = (model.norm(model.linear(torch.randn(8, 4))) ** 3).sum()
    loss.backward()
    gradient = model.linear.weight.grad.clone()
    optimizer.step()
    # You et al., arXiv 1708.03888, equation 6, trust coefficient 0.001
    trust = 0.001 * weight.norm() / (gradient.norm() + weight_decay * weight.norm())
    torch.testing.assert_close(model.linear.weight.detach(), weight - trust * (gradient + weight_decay * weight))
    torch.testing.assert_close(model.linear.bias.detach(), bias - model.linear.bias.grad)


def test_the_schedule_equals_its_closed_form_at_every_step():
    recipe = Recipe(optimizer="adamw", base_lr=1.0, weight_decay=0.04, weight_decay_end=0.4, warmup=0.1, final_lr=0.01)
    optimizer = build_optimizer(Tiny(), recipe, batch_size=256)
    for step in range(50):
        set_schedule(optimizer, recipe, step, 50)
        falling = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - 5) / 44))
        expected = (step + 1) / 5 if step < 5 else falling
        decay = 0.4 + (0.04 - 0.4) * 0.5 * (1 + math.cos(math.pi * step / 49))
        found = groups(optimizer)
        assert found["weights"]["lr"] == pytest.approx(expected)
        assert found["weights"]["weight_decay"] == pytest.approx(decay)
        assert found["biases"]["weight_decay"] == 0
    assert found["weights"]["lr"] == pytest.approx(0.01)  # the last step has the final rate


@pytest.mark.parametrize(("rule", "per", "expected"), [("linear", 256, 0.3), ("sqrt", 4, 2.4), ("fixed", 256, 0.3)])
def test_the_peak_rate_follows_its_rule_of_the_batch(rule, per, expected):
    recipe = Recipe(optimizer="sgd", base_lr=0.3, weight_decay=0.0, lr_rule=rule, lr_per=per)
    assert peak_lr(recipe, 256) == pytest.approx(expected)
    assert groups(build_optimizer(Tiny(), recipe, batch_size=256))["weights"]["lr"] == pytest.approx(expected)


@pytest.mark.parametrize(("warmup", "every", "total"), [(0.0, 0.05, 40), (0.1, 0.1, 50), (0.0, 0.3, 10), (0.0, 0.1, 3)])
def test_a_schedule_of_steps_falls_by_its_factor_after_each_period(warmup, every, total):
    recipe = Recipe(
        optimizer="adamw",
        base_lr=1.0,
        weight_decay=0.0,
        warmup=warmup,
        schedule="step",
        step_factor=0.5,
        step_every=every,
    )
    start, period = round(warmup * total), max(1, round(every * total))
    expected = [(step + 1) / start for step in range(start)]
    while len(expected) < total:
        expected.append(0.5 ** ((len(expected) - start) // period))
    assert [lr_factor(recipe, step, total) for step in range(total)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adam"}, "unknown optimizer 'adam'; did you mean 'adamw'"),
        ({"lr_rule": "squared"}, "unknown lr_rule 'squared'"),
        ({"schedule": "steps"}, "unknown schedule 'steps'; did you mean 'step'"),
        ({"step_factor": 0.0}, "step_factor must be above 0 and at most 1, not 0.0"),
        ({"step_every": 1.5}, "step_every must be above 0 and at most 1, not 1.5"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Recipe(**{"optimizer": "sgd", "base_lr": 0.1, "weight_decay": 0.0, **fields})


def test_a_schedule_of_lars_keeps_the_ratio_of_the_groups_and_the_adaptation():
    recipe = Recipe(optimizer="lars", base_lr=0.2, weight_decay=0.0, bias_lr_scale=0.024)
    optimizer = build_optimizer(Tiny(), recipe, batch_size=256)
    set_schedule(optimizer, recipe, 3, 10)
    found = groups(optimizer)
    assert found["biases"]["lr"] == pytest.approx(0.024 * found["weights"]["lr"])
    assert found["weights"]["weight_decay"] > 0


@pytest.mark.parametrize("total", [1, 2, 3])
def test_a_run_of_few_steps_has_finite_positive_rates(total):
    for method in METHODS.values():
        rates = [lr_factor(method.recipe, step, total) for step in range(total)]
        assert all(0 <= rate <= 1 for rate in rates)
        assert rates[0] > 0
        assert all(weight_decay_at(method.recipe, step, total) >= 0 for step in range(total))


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_a_loaded_optimizer_goes_on_bit_for_bit(name):
    recipe = Recipe(optimizer=name, base_lr=0.01, weight_decay=1e-4)
    torch.manual_seed(0)
    model = Tiny()
    optimizer = build_optimizer(model, recipe, batch_size=256)
    inputs = torch.randn(8, 4)

    def step(model, optimizer, number: int) -> None:
        set_schedule(optimizer, recipe, number, 10)
        optimizer.zero_grad()
        ((model.norm(model.linear(inputs)) + model.mask_token[0] - 1) ** 2).sum().backward()
        optimizer.step()

    for number in range(3):
        step(model, optimizer, number)
    other = copy.deepcopy(model)
    loaded = build_optimizer(other, recipe, batch_size=256)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for number in range(3, 6):
        step(model, optimizer, number)
        step(other, loaded, number)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert torch.isfinite(model.linear.weight).all()


def test_an_unknown_optimizer_is_named():
    with pytest.raises(UserError, match="unknown optimizer 'adam'"):
        build_optimizer(Tiny(), Recipe(optimizer="adam", base_lr=1, weight_decay=0), batch_size=1)  # type: ignore[arg-type]
