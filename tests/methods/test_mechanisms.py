"""Teachers, queues, temperatures, masks and crops: the parts of a method that are not its loss."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from torch import nn

from ssl_zoo.methods import METHODS
from ssl_zoo.methods.base import cosine
from ssl_zoo.methods.dino import accept_any_size, build_head
from ssl_zoo.methods.mae import random_mask


def shift(module: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by)


@pytest.mark.parametrize(("name", "start", "end"), [("moco", 0.99, 0.99), ("byol", 0.99, 1.0), ("dino", 0.99, 1.0)])
def test_a_teacher_follows_the_closed_form_of_its_moving_average(tiny, name, start, end):
    method = tiny.build(name, "cnn")
    teacher = (method.teacher if name == "dino" else method.teacher[0]).conv1.weight
    student = method.backbone.conv1.weight
    expected = teacher.detach().double().clone()
    for number in range(1, 6):
        shift(method.backbone, 0.1)
        method.after_step(number / 5)
        momentum = end - (end - start) * (math.cos(math.pi * number / 5) + 1) / 2
        expected = momentum * expected + (1 - momentum) * student.detach().double()
        torch.testing.assert_close(teacher.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_a_cosine_meets_both_ends_and_stays_there():
    assert cosine(0.99, 1.0, 0.0) == pytest.approx(0.99)
    assert cosine(0.99, 1.0, 0.5) == pytest.approx(0.995)
    assert cosine(0.99, 1.0, 1.0) == cosine(0.99, 1.0, 2.0) == 1.0


def test_the_queue_holds_the_newest_keys_in_a_ring(tiny):
    method = tiny.build("moco", "cnn", queue_size=5, projector_dim=1)
    keys = torch.arange(1.0, 10.0).unsqueeze(1)
    method.enqueue(keys[:3])  # 1 2 3 . .
    method.enqueue(keys[3:7])  # wraps: 6 7 3 4 5
    assert method.queue.flatten().tolist() == [6, 7, 3, 4, 5]
    method.enqueue(keys[7:8])
    assert method.queue.flatten().tolist() == [6, 7, 8, 4, 5]
    method.enqueue(torch.arange(20.0, 27.0).unsqueeze(1))  # larger than the queue: its last five
    assert sorted(method.queue.flatten().tolist()) == [22, 23, 24, 25, 26]


def test_keys_enter_the_queue_after_the_step_and_are_saved_with_the_method(tiny):
    method = tiny.build("moco", "cnn")
    views, before = tiny.views_for(method, 8), method.queue.clone()
    method(views)
    assert torch.equal(method.queue, before)
    method.after_step(0.1)
    assert int((method.queue != before).any(1).sum()) == 8
    method.eval()(views)
    method.after_step(0.2)
    assert int(method.queue_end) == 8  # a look in evaluation mode leaves no keys
    assert torch.equal(method.state_dict()["queue"], method.queue)


def test_shuffled_keys_come_back_in_the_order_of_their_images(tiny):
    method = tiny.build("moco", "cnn", key_chunks=4, projector_dim=3)
    method.teacher = nn.Sequential(nn.Flatten(), nn.Linear(1024, 3))  # nothing couples the samples here
    images = tiny.frames(37)
    expected = nn.functional.normalize(method.teacher(images), dim=1)
    torch.testing.assert_close(method.make_keys(images), expected)


def test_the_teachers_temperature_rises_linearly_and_is_saved(tiny):
    method = tiny.build("dino", "cnn")
    assert [round(method.teacher_temperature_at(p), 6) for p in (0, 0.15, 0.3, 1)] == [0.04, 0.055, 0.07, 0.07]
    method.after_step(0.15)
    assert method.state_dict()["progress"].item() == pytest.approx(0.15)


def test_the_last_layer_of_dino_is_frozen_at_first_only_and_its_rows_have_length_one(tiny):
    method = tiny.build("dino", "cnn", freeze_last_layer=0.1)
    method(tiny.views_for(method, 4)).loss.backward()
    method.cancel_gradients(0.5)
    assert method.head.last_layer.weight_v.grad is not None
    method.cancel_gradients(0.05)
    assert method.head.last_layer.weight_v.grad is None
    method.head(torch.randn(2, method.width))
    torch.testing.assert_close(method.head.last_layer.weight.norm(dim=1), torch.ones(32))


def test_batchnorm_in_the_head_of_dino_takes_out_what_all_features_share(tiny):
    features = torch.rand(32, 16) * 0.01 + 5.0  # after a ReLU: nearly the same for every image
    spread = {}
    for batchnorm in (False, True):
        method = tiny.build("dino", "cnn", head_batchnorm=batchnorm)
        assert method.teacher_head.state_dict().keys() == method.head.state_dict().keys()
        head = build_head(16, 32, 16, 64, batchnorm)
        spread[batchnorm] = float(head(features).std(0).mean().detach())
    assert spread[True] > 10 * spread[False]


@pytest.mark.parametrize("class_token", [True, False])
def test_a_vit_made_to_accept_any_size_keeps_its_output_at_its_own(class_token):
    torch.manual_seed(0)
    pool = "token" if class_token else "avg"
    vit = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=0,
        img_size=32,
        patch_size=8,
        depth=1,
        class_token=class_token,
        global_pool=pool,
    ).eval()
    images = torch.randn(2, 3, 32, 32)
    before, keys = vit(images), list(vit.state_dict())
    accept_any_size(vit)
    assert torch.equal(vit(images), before)
    assert list(vit.state_dict()) == keys
    assert vit(images[..., :16, :24]).shape == before.shape


def test_crops_that_a_vit_cannot_cut_are_scaled_to_the_nearest_multiple(tiny):
    method = tiny.build("dino", "vit")
    views = tiny.views_for(method, 4)
    views[2] = torch.randn(4, 1, 21, 21)
    views[3] = torch.randn(4, 1, 21, 21)
    assert torch.isfinite(method(views).loss)


def test_a_mask_hides_its_share_anew_for_every_image():
    torch.manual_seed(0)
    visible, hidden = random_mask(200, 64, 0.75, torch.device("cpu"))
    assert (visible.shape, hidden.shape) == ((200, 16), (200, 48))
    assert len({tuple(sorted(row)) for row in hidden.tolist()}) == 200
    share = torch.zeros(64).index_add_(0, hidden.flatten(), torch.ones(200 * 48)) / 200
    assert share.min() > 0.6  # every patch has its turn
    assert share.max() < 0.9


@pytest.mark.parametrize(("patches", "ratio"), [(4, 0.99), (4, 0.01)])
def test_a_mask_leaves_one_patch_to_see_and_one_to_paint(patches, ratio):
    visible, hidden = random_mask(2, patches, ratio, torch.device("cpu"))
    assert min(visible.shape[1], hidden.shape[1]) == 1


def test_mae_sees_nothing_of_the_hidden_patches(tiny):
    method = tiny.build("mae", "vit").eval()
    images = tiny.frames(3)
    visible = torch.tensor([[0, 5, 10]] * 3)
    before = method.encode(images, visible)
    changed = images.clone()
    changed[..., 24:, :] += 5  # patches 12 to 15
    assert torch.equal(method.encode(changed, visible), before)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"global_pool": "avg"},
        {"class_token": False, "global_pool": "avg"},
        {"reg_tokens": 2},
        {"no_embed_class": True},
    ],
    ids=str,
)
def test_mae_with_every_patch_visible_is_the_exported_vit(arguments):
    vit = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, in_chans=1, img_size=32, patch_size=8, depth=2, **arguments
    )
    method = METHODS["mae"](vit).eval()
    images = torch.randn(2, 1, 32, 32)
    if arguments.get("global_pool") != "avg":  # an averaging ViT has its last norm after the mean, MAE before it
        tokens = method.encode(images, torch.arange(16).expand(2, 16))
        torch.testing.assert_close(vit.pool(tokens), vit(images), rtol=1e-4, atol=1e-5)
    method.train()([images]).loss.backward()
    assert [name for name, value in method.named_parameters() if value.requires_grad and value.grad is None] == []


def test_mae_keeps_given_weights_and_fixes_positions_only_on_demand(tiny):
    fixed, kept = tiny.build("mae", "vit"), tiny.build("mae", "vit", positions="keep")
    assert not fixed.backbone.pos_embed.requires_grad
    assert kept.backbone.pos_embed.requires_grad
    assert torch.equal(fixed.backbone.blocks[0].mlp.fc1.weight, kept.backbone.blocks[0].mlp.fc1.weight)
    row = fixed.backbone.pos_embed[0, 1 + 7].detach()  # patch in row 1, column 3, of width 32: 8 sines, 8 cosines each
    frequencies = 1 / 10000 ** (torch.arange(8) / 8)
    expected = torch.cat([(3 * frequencies).sin(), (3 * frequencies).cos(), frequencies.sin(), frequencies.cos()])
    torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-6)
