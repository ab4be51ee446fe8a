"""The methods that paint pixels: their losses, the decoder that mirrors a CNN, and the holes to be filled."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError
from ssl_zoo.methods import METHODS
from ssl_zoo.methods.inpainting_autoencoder import rectangles
from ssl_zoo.methods.mae import normalized_error

AUTOENCODERS = ["autoencoder", "inpainting_autoencoder"]
both = pytest.mark.parametrize("name", AUTOENCODERS)


class Given(nn.Module):
    """A decoder that paints what it is told to."""

    def __init__(self, painted: Tensor) -> None:
        super().__init__()
        self.painted = nn.Parameter(painted)

    def forward(self, feature_map: Tensor, features: Tensor, size: tuple[int, int]) -> Tensor:
        return self.painted


@both
@pytest.mark.parametrize("batch", [2, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_the_mean_squared_error_to_the_clean_view(tiny, name, batch, channels):
    method = tiny.build(name, "cnn", channels)
    images = tiny.frames(batch, channels)
    method.decoder = Given(torch.randn(images.shape))
    loss = method([images]).loss
    loss.backward()
    difference = method.decoder.painted.detach().double() - images.double()
    assert loss.item() == pytest.approx(float((difference**2).sum() / difference.numel()), rel=1e-5)
    expected = 2 * difference / difference.numel()
    torch.testing.assert_close(method.decoder.painted.grad.double(), expected, rtol=1e-5, atol=1e-9)


@both
def test_a_perfect_painting_has_no_loss_and_no_gradient(tiny, name):
    method = tiny.build(name, "cnn")
    images = tiny.frames(3)
    method.decoder = Given(images.clone())
    loss = method([images]).loss
    loss.backward()
    assert loss.item() == 0
    assert not method.decoder.painted.grad.any()


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("flat_patches", [False, True])
def test_the_error_of_mae_and_its_gradient_equal_the_papers_equation(batch, flat_patches):
    generator = torch.Generator().manual_seed(batch)
    predictions = torch.randn(batch, 3, 12, generator=generator).requires_grad_()
    patches = torch.full((batch, 3, 12), 0.25) if flat_patches else torch.randn(batch, 3, 12, generator=generator)
    loss = normalized_error(predictions, patches)
    loss.backward()
    exact, pixels = predictions.detach().double(), patches.double()
    targets = torch.zeros_like(pixels)
    for i in range(batch):
        for j in range(3):
            mean = pixels[i, j].sum() / 12
            variance = ((pixels[i, j] - mean) ** 2).sum() / 11
            targets[i, j] = (pixels[i, j] - mean) / (variance + 1e-6) ** 0.5
    assert loss.item() == pytest.approx(float(((exact - targets) ** 2).sum() / exact.numel()), rel=1e-5)
    torch.testing.assert_close(predictions.grad.double(), 2 * (exact - targets) / exact.numel(), rtol=1e-4, atol=1e-7)


@both
@pytest.mark.parametrize("size", [(32, 32), (33, 33), (47, 47), (64, 64), (30, 50), (9, 20)])
def test_an_image_of_any_size_is_painted_at_its_size(tiny, name, size):
    method = tiny.build(name, "cnn", 3)
    images = torch.randn(2, 3, *size)
    features = method.backbone.forward_features(images)
    assert method.decoder(features, features.mean((2, 3)), size).shape == images.shape
    assert torch.isfinite(method([images]).loss)


def test_the_decoder_has_the_widths_of_the_backbone_in_reverse(tiny):
    method = tiny.build("autoencoder", "cnn", decoder_depth=2)
    assert [info["num_chs"] for info in method.backbone.feature_info] == [64, 8, 16, 32, 64]
    widths = [
        [(layer.in_channels, layer.out_channels) for layer in stage if isinstance(layer, nn.Conv2d)]
        for stage in method.decoder.stages
    ]
    pairs = [(64, 32), (32, 16), (16, 8), (8, 64), (64, 64)]  # strides 16, 8, 4, 2, 1
    assert widths == [[(wide, wide), (wide, narrow)] for wide, narrow in pairs]
    assert method.decoder.paint.out_channels == 1


# A plain one; a norm, a convolution, a BatchNorm behind the pooling; a map wider than the last stage; a narrow stem.
@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("autoencoder", "resnet10t"),
        ("autoencoder", "convnext_atto"),
        ("inpainting_autoencoder", "mobilenetv3_small_050"),
        ("autoencoder", "mobilenetv4_conv_small"),
        ("inpainting_autoencoder", "efficientnet_b0"),
        ("autoencoder", "regnety_002"),
    ],
)
def test_any_timm_cnn_trains_as_autoencoder_with_a_gradient_for_every_weight(name, backbone):
    torch.manual_seed(0)
    network = timm.create_model(backbone, num_classes=0, in_chans=1)
    method = METHODS[name](network)
    images = torch.randn(2, 1, 64, 64)
    output = method([images])
    output.loss.backward()
    without = [key for key, value in method.named_parameters() if value.requires_grad and value.grad is None]
    assert without == []
    assert output.features.shape == network.eval()(images).shape


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone", ["resnet50", "densenet121", "vgg11_bn", "inception_v3", "hrnet_w18_small", "dla34", "ghostnet_050"]
)
def test_larger_timm_cnns_train_as_autoencoder(backbone):
    method = METHODS["autoencoder"](timm.create_model(backbone, num_classes=0, in_chans=1))
    method([torch.randn(2, 1, 96, 96)]).loss.backward()
    assert [k for k, value in method.named_parameters() if value.requires_grad and value.grad is None] == []


@both
def test_building_a_decoder_leaves_the_backbone_and_the_random_state_as_they_were(tiny, name):
    backbone = tiny.build("simclr", "cnn").backbone
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    method = METHODS[name](backbone)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert all(module.training for module in method.modules())


@both
def test_backbones_without_a_feature_map_are_refused(tiny, name):
    with pytest.raises(UserError, match="needs a convolutional network as backbone, not VisionTransformer"):
        tiny.build(name, "vit")
    with pytest.raises(UserError, match="needs a timm CNN as backbone, not Flat"):
        METHODS[name](tiny.Flat(4))
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, depths=(1, 1, 1, 1), embed_dim=24)
    with pytest.raises(UserError, match=r"needs a feature map \[B, D, h, w\], and SwinTransformer gives"):
        METHODS[name](swin)
    with pytest.raises(UserError, match="decoder_depth must be at least 1, not 0"):
        tiny.build(name, "cnn", decoder_depth=0)


def test_inpainting_sees_the_erased_image_and_nothing_of_the_hole(tiny, monkeypatch):
    method = tiny.build("inpainting_autoencoder", "cnn")
    images = tiny.frames(4)
    hole = torch.zeros(4, 1, 32, 32, dtype=torch.bool)
    hole[:, :, 8:20, 4:16] = True
    monkeypatch.setattr(method, "draw_holes", lambda images: hole)
    seen = []
    method.backbone.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    method([images])
    assert not seen[0][hole].any()
    assert torch.equal(seen[0][~hole], images[~hole])


def test_without_erasing_inpainting_is_the_autoencoder(tiny):
    losses = []
    for name, params in (("autoencoder", {}), ("inpainting_autoencoder", {"erase_probability": 0.0})):
        method = tiny.build(name, "cnn", **params)
        losses.append(method([tiny.frames(4)]).loss)
    assert torch.equal(*losses)


def test_holes_follow_their_law(tiny):
    method = tiny.build("inpainting_autoencoder", "cnn", erase_probability=0.8)
    torch.manual_seed(0)
    holes = method.draw_holes(torch.zeros(4000, 1, 64, 64)).squeeze(1)  # [B, H, W]
    erased = holes.flatten(1).any(1)
    assert float(erased.float().mean()) == pytest.approx(0.8, abs=0.02)
    holes = holes[erased].float()
    height, width = holes.amax(2).sum(1), holes.amax(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), height * width)  # one whole rectangle
    share = height * width / 64**2
    assert float(share.mean()) == pytest.approx((0.02 + 0.33) / 2, abs=0.01)
    # A flat law: a third of the shares in each third of the range. At the ends, sides are rounded.
    for third in range(3):
        low, high = (0.02 + 0.31 * k / 3 for k in (third, third + 1))
        assert float(((share > low) & (share <= high)).float().mean()) == pytest.approx(1 / 3, abs=0.04)
    aspect = (height / width).log()
    assert float(aspect.mean()) == pytest.approx(0, abs=0.03)  # as often upright as lying
    assert float((aspect < 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert float(aspect.exp().max()) < 4
    # As often near the left edge as near the right one, and as near the top as near the bottom.
    middle = torch.arange(64.0)
    for axis, side in ((2, height), (1, width)):
        centre = (holes.amax(axis) * middle).sum(1) / side
        assert float(centre.mean()) == pytest.approx(31.5, abs=0.7)


def test_a_rectangle_keeps_within_its_image_and_has_a_pixel_at_least():
    draws = torch.tensor([[0.0], [0.0], [1 - 2**-24], [1 - 2**-24]])
    area = torch.tensor([[1e-6], [0.99], [1e-6], [0.5]])
    hole = rectangles((5, 9), area=area, aspect=torch.full((4, 1), 3.0), top=draws, left=draws).squeeze(1)
    assert hole[0].nonzero().tolist() == [[0, 0]]
    assert hole[2].nonzero().tolist() == [[4, 8]]
    assert hole[1].any(1).sum() == 5  # as high as the image, no higher
    assert hole[3][-1, -1]


def test_holes_are_drawn_anew_for_every_image_from_the_global_random_state(tiny):
    method = tiny.build("inpainting_autoencoder", "cnn")
    images = torch.zeros(20, 1, 32, 32)
    torch.manual_seed(3)
    first = method.draw_holes(images)
    second = method.draw_holes(images)
    torch.manual_seed(3)
    assert torch.equal(method.draw_holes(images), first)
    assert not torch.equal(first, second)
    assert len({tuple(hole.flatten().tolist()) for hole in first}) == 20


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"erase_probability": 1.5}, r"erase_probability must lie in 0..1, not 1.5"),
        ({"erase_area": (0.5, 0.2)}, r"erase_area is a range of shares in 0..1, not \(0.5, 0.2\)"),
        ({"erase_aspect": (0.0, 2.0)}, r"erase_aspect is a range above 0, not \(0.0, 2.0\)"),
    ],
)
def test_impossible_holes_are_refused(tiny, params, message):
    with pytest.raises(UserError, match=message):
        tiny.build("inpainting_autoencoder", "cnn", **params)
