"""An image becomes a square as the encoder wants it, read from a file or handed over as a tensor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.encoders.fitting import FITTINGS, RESAMPLINGS, Fit, fit_batch
from ssl_zoo.errors import UserError
from ssl_zoo.planes.table import load_images, read_planes


@pytest.fixture
def planes(tmp_path):
    """A wide white image and a tall one."""
    Image.new("L", (80, 40), 255).save(tmp_path / "wide.png")
    Image.new("L", (40, 80), 255).save(tmp_path / "tall.png")
    (tmp_path / "planes.csv").write_text("image,label,patient_id\nwide.png,a,1\ntall.png,b,2\n")
    return read_planes(tmp_path / "planes.csv")


PLACES = {  # where a wide image lies in 32 x 32, and a tall one
    "letterbox": ((slice(8, 24), slice(0, 32)), (slice(0, 32), slice(8, 24))),
    "pad": ((slice(0, 16), slice(0, 32)), (slice(0, 32), slice(0, 16))),
    "squash": ((slice(0, 32), slice(0, 32)), (slice(0, 32), slice(0, 32))),
}


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("fitting", FITTINGS)
def test_files_and_tensors_are_fitted_alike(planes, fitting, resampling):
    fit = Fit(32, fitting, resampling)
    images = load_images(planes, 32, 1, fit=fit)
    for image, place, shape in zip(images, PLACES[fitting], ((40, 80), (80, 40)), strict=True):
        expected = np.zeros((32, 32), dtype=np.uint8)
        expected[place] = 255
        assert np.array_equal(image, expected)
        fitted = fit_batch(torch.ones(1, 1, *shape), fit)
        assert torch.allclose(fitted[0, 0] * 255, torch.from_numpy(expected).float(), atol=1e-3)


def test_letterboxing_by_area_is_what_is_done_by_default(planes):
    assert np.array_equal(load_images(planes, 32, 1), load_images(planes, 32, 1, fit=Fit(32)))


def test_nearest_takes_pixels_and_bicubic_stays_in_range(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 2, (50, 50)).astype(np.uint8) * 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(255 - pixels).save(tmp_path / "b.png")
    (tmp_path / "planes.csv").write_text("image,label,patient_id\na.png,a,1\nb.png,b,2\n")
    planes = read_planes(tmp_path / "planes.csv")
    nearest = load_images(planes, 24, 1, fit=Fit(24, resampling="nearest"))
    assert set(np.unique(nearest)) == {0, 255}
    tensor = torch.from_numpy(pixels)[None, None].float() / 255
    assert torch.equal(fit_batch(tensor, Fit(24, resampling="nearest"))[0, 0], torch.from_numpy(nearest[0]) / 255)
    bicubic = fit_batch(tensor, Fit(100, resampling="bicubic"))
    assert bicubic.min() >= 0
    assert bicubic.max() <= 1


def test_an_encoder_fits_images_as_its_card_says():
    network = build_backbone("resnet10t", channels=1, size=32).eval()
    card = Card("resnet10t", 32, 1, mean=[0.0], std=[1.0], fitting="pad")
    fitted = Encoder(network, card).normalise(torch.full((1, 40, 80), 255, dtype=torch.uint8))
    assert fitted.shape == (1, 1, 32, 32)
    assert fitted[0, 0, :16].min() > 0.999
    assert fitted[0, 0, 16:].max() == 0


@pytest.mark.parametrize(("fitting", "resampling"), [("crop", "area"), ("pad", "cubic")])
def test_an_unknown_fitting_is_named(fitting, resampling):
    with pytest.raises(UserError, match=r"unknown (fitting|resampling)"):
        Fit(32, fitting, resampling)
