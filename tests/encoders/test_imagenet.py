"""ImageNet's weights come from a file, or not at all without a clear sentence."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from ssl_zoo.encoders.imagenet import imagenet_encoder, imagenet_fingerprint
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
