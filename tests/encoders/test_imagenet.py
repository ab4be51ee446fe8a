"""ImageNet's weights come from a file, or not at all without a clear sentence."""

from __future__ import annotations

import dataclasses

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from ssl_zoo import load_encoder
from ssl_zoo.encoders import imagenet, matching
from ssl_zoo.encoders.files import save_encoder
from ssl_zoo.encoders.imagenet import (
    ImageNetSpec,
    check_imagenet,
    imagenet_encoder,
    imagenet_fingerprint,
    parse_imagenet,
)
from ssl_zoo.encoders.torchvision_names import from_torchvision
from ssl_zoo.errors import UserError


@pytest.fixture
def file(tmp_path):
    """A file in timm's layout: three channels and a classifier of a thousand classes."""
    torch.manual_seed(0)
    weights = timm.create_model("resnet18").state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "resnet18.safetensors")
    return tmp_path / "resnet18.safetensors"


def test_a_grey_network_gives_the_features_of_the_colour_one_on_grey_images(file):
    grey = imagenet_encoder("resnet18", size=32, channels=1, file=str(file))
    colour = imagenet_encoder("resnet18", size=32, channels=3, file=str(file))
    colour.mean.fill_(float(grey.mean))  # one mean for three equal channels, as a grey image has
    colour.std.fill_(float(grey.std))
    images = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(grey(images), colour(images), atol=1e-4)


def test_the_fingerprint_follows_the_contents_of_the_file(file):
    before = imagenet_fingerprint("resnet18", str(file))
    assert before != imagenet_fingerprint("resnet18")
    file.write_bytes(file.read_bytes()[:-4] + b"1234")
    assert imagenet_fingerprint("resnet18", str(file)) != before


@pytest.mark.parametrize("load", [imagenet_encoder, check_imagenet])
def test_weights_of_another_network_are_refused_with_the_keys_told(file, load):
    with pytest.raises(
        UserError, match=r"not the weights of 'resnet34': 122 matched, 96 missing \(.+\), 0 unexpected$"
    ):
        load("resnet34", size=32, channels=1, file=str(file))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_account_of_a_file_is_told_once_and_needs_no_network(file, channels, capsys):
    said = "120 matched, 0 missing, 0 unexpected; 2 left out (fc.bias, fc.weight)"
    assert check_imagenet("resnet18", str(file), size=32, channels=channels).sentence() == said
    matching.say_once.cache_clear()
    for _ in range(2):
        imagenet_encoder("resnet18", size=32, channels=channels, file=str(file))
    assert capsys.readouterr().err == f"imagenet: {file}: {said}\n"


def test_another_efficientnet_of_torchvisions_is_refused_in_one_sentence(tmp_path):
    torch.save(torchvision.models.efficientnet_b0().state_dict(), tmp_path / "file.pth")
    with pytest.raises(UserError, match="not the weights of 'efficientnet_b0': "):
        load_encoder(f"imagenet@efficientnet_b0:{tmp_path / 'file.pth'}")


def test_without_a_network_the_error_says_how_to_pass_a_file(monkeypatch, capsys):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    with pytest.raises(UserError, match=r"imagenet:/path/to/file\.safetensors") as error:
        imagenet_encoder("resnet18", size=32, channels=1)
    assert "resnet18." in str(error.value)
    assert "Hugging Face hub" in capsys.readouterr().err  # nothing is fetched silently


def test_a_small_backbone_of_our_own_has_no_weights_and_says_so():
    with pytest.raises(UserError, match="no ImageNet weights for 'vit_micro_patch8'"):
        imagenet_fingerprint("vit_micro_patch8")


# torchvision's name, timm's name, size: each of the ways in which torchvision names weights and wants its images
TORCHVISION = [
    ("resnet18", "resnet18", 64),
    ("vit_b_16", "vit_base_patch16_224", 224),
    ("efficientnet_v2_s", "efficientnetv2_s", 64),
    ("densenet169", "densenet169", 64),
    ("efficientnet_v2_l", "efficientnetv2_l", 64),
]


@pytest.mark.parametrize(
    ("theirs", "ours", "size"),
    [
        TORCHVISION[0],
        *(pytest.param(*case, marks=pytest.mark.slow) for case in TORCHVISION[1:]),
    ],
)
@torch.no_grad()
def test_a_file_of_torchvisions_gives_torchvisions_features(tmp_path, theirs, ours, size):
    network = perturbed(torchvision.models.get_model(theirs))
    torch.save(network.state_dict(), tmp_path / "file.pth")
    encoder = load_encoder(f"imagenet@{ours}:{tmp_path / 'file.pth'}")
    images = torch.rand(1, 3, size, size)
    features = []
    last = [part for part in network.modules() if isinstance(part, torch.nn.Linear)][-1]  # the classifier
    last.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    network(images)
    assert torch.allclose(encoder.backbone(images), features[0], atol=1e-3)
    wanted = torchvision.models.get_model_weights(theirs).DEFAULT.transforms()
    assert (encoder.card.mean, encoder.card.std) == (list(wanted.mean), list(wanted.std))
    save_encoder(tmp_path / "folder", encoder.backbone, encoder.card)
    assert torch.equal(load_encoder(tmp_path / "folder").backbone(images), encoder.backbone(images))


@pytest.fixture
def vit(tmp_path):
    """A file of torchvision's names whose network timm has as well, with another normalisation: and that network."""
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(
        image_size=224, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768
    )
    torch.save(network.state_dict(), tmp_path / "vit.pth")
    return network.eval(), str(tmp_path / "vit.pth")


@torch.no_grad()
def test_torchvisions_weights_are_fed_as_torchvision_feeds_them(vit):
    network, file = vit
    encoder = load_encoder(f"imagenet@vit_tiny_patch16_224:{file}")
    assert timm.get_pretrained_cfg("vit_tiny_patch16_224").mean == (0.5, 0.5, 0.5)
    assert (encoder.card.mean, encoder.card.std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    network.heads = torch.nn.Identity()
    images = torch.rand(1, 3, 224, 224)
    seen = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    assert torch.allclose(encoder(images), network(seen), atol=1e-4)


def test_the_fingerprint_says_whose_normalisation_a_file_is_given(vit, monkeypatch):
    _, file = vit
    before = imagenet_fingerprint("vit_tiny_patch16_224", file)
    theirs = from_torchvision(torch.load(file))
    other = dataclasses.replace(theirs, mean=(0.5, 0.5, 0.5))
    imagenet._contents.cache_clear()
    monkeypatch.setattr(imagenet, "from_torchvision", lambda weights: other)
    assert imagenet_fingerprint("vit_tiny_patch16_224", file) != before


def perturbed(network):
    """Every weight and statistic with a value of its own, so that none can be lost or exchanged unseen."""
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.ndim <= 1:
            value.add_(torch.rand_like(value) * (0.5 if "var" in name else 0.1))
    return network.eval()


def test_torchvisions_names_become_timms_key_by_key():
    with torch.device("meta"):
        for theirs, ours, _ in (TORCHVISION[1], TORCHVISION[2], TORCHVISION[4]):
            found = from_torchvision(torchvision.models.get_model(theirs).state_dict())
            assert found is not None
            wanted = timm.create_model(ours).state_dict()
            assert {key: value.shape for key, value in found.weights.items()} == {
                key: value.shape for key, value in wanted.items()
            }
            trained = torchvision.models.get_model_weights(theirs).DEFAULT.transforms()
            assert (found.mean, found.std) == (tuple(trained.mean), tuple(trained.std))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("imagenet", "which network"),
        ("imagenet@resnet5:/x", "did you mean 'resnet5"),
        ("imagenet@resnet18:/nowhere/x.pth", "/nowhere/x.pth: no such file"),
    ],
)
def test_a_spec_that_cannot_work_says_why(spec, words):
    with pytest.raises(UserError, match=words):
        load_encoder(spec)


def test_a_spec_is_taken_apart():
    assert parse_imagenet("imagenet") == ImageNetSpec("", "")
    assert parse_imagenet("imagenet:/a:b") == ImageNetSpec("", "/a:b")
    assert parse_imagenet("imagenet@densenet169:/a") == ImageNetSpec("densenet169", "/a")
    assert parse_imagenet("imagenette") is None


def test_torchvisions_weights_are_not_put_into_a_network_that_pads_otherwise(tmp_path):
    told_by = ("features.0.0.weight", "features.0.1.running_mean")  # what tells torchvision's EfficientNets
    torch.save({key: torch.ones(2) for key in told_by}, tmp_path / "file.pth")
    with pytest.raises(UserError, match="timm's 'efficientnetv2_s', not 'tf_efficientnetv2_s'"):
        load_encoder(f"imagenet@tf_efficientnetv2_s:{tmp_path / 'file.pth'}")
