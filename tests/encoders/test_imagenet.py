"""ImageNet's weights come from a file, or not at all without a clear sentence."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from ssl_zoo import load_encoder
from ssl_zoo.encoders.files import save_encoder
from ssl_zoo.encoders.imagenet import ImageNetSpec, imagenet_encoder, imagenet_fingerprint, parse_imagenet
from ssl_zoo.encoders.torchvision_names import timm_names
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


def test_weights_of_another_network_are_refused(file):
    with pytest.raises(UserError, match="cannot be loaded"):
        imagenet_encoder("resnet34", size=32, channels=1, file=str(file))


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


# torchvision's name, timm's name, size: each of the four ways in which torchvision names weights
TORCHVISION = [
    ("resnet18", "resnet18", 64),
    ("vit_b_16", "vit_base_patch16_224", 224),
    ("efficientnet_v2_s", "efficientnetv2_s", 64),
    ("densenet169", "densenet169", 64),
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
    if size == 224:
        assert torch.allclose(encoder(images * encoder.std + encoder.mean), features[0], atol=1e-3)
    else:
        assert torch.allclose(encoder.backbone(images), features[0], atol=1e-3)
    save_encoder(tmp_path / "folder", encoder.backbone, encoder.card)
    assert torch.equal(load_encoder(tmp_path / "folder").backbone(images), encoder.backbone(images))


def perturbed(network):
    """Every weight and statistic with a value of its own, so that none can be lost or exchanged unseen."""
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.ndim <= 1:
            value.add_(torch.rand_like(value) * (0.5 if "var" in name else 0.1))
    return network.eval()


def test_torchvisions_names_become_timms_key_by_key():
    with torch.device("meta"):
        for theirs, ours, _ in (TORCHVISION[1], TORCHVISION[2]):
            weights, _ = timm_names(torchvision.models.get_model(theirs).state_dict())
            wanted = timm.create_model(ours).state_dict()
            assert {key: value.shape for key, value in weights.items()} == {
                key: value.shape for key, value in wanted.items()
            }


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
