"""How to add a method, a sampler, a source of planes and an encoder: each test does it, and uses what it added.

The README quotes these tests: what stands between a test's `def` and its blank line is all that an addition takes.
"""

from __future__ import annotations

import inspect

import av
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

import ssl_zoo
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.entry import IMAGENET_MEAN, IMAGENET_STD, Entry
from ssl_zoo.encoders.files import Card, save_encoder
from ssl_zoo.methods import METHODS, Method, Output, Recipe
from ssl_zoo.methods.processes import gather
from ssl_zoo.methods.table import method_table
from ssl_zoo.planes.sources import SOURCES, open_planes
from ssl_zoo.planes.sources.listing import Listing, images_in, published
from ssl_zoo.pretraining.trainer import pretrain
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.samplers import SAMPLERS, Sampler, SamplerSettings
from ssl_zoo.scans.samplers.by_scan import by_scan
from ssl_zoo.scans.sources.facts import Facts
from ssl_zoo.scans.table import read_scans
from tests.pretraining.short_runs import history_of, settings_of, write_store


def test_a_method_is_one_class_and_one_line(monkeypatch, tmp_path):
    class Alike(Method):
        """Pull two views of an image together and keep the batch spread out."""

        family, paper = "spread out", "2005.10242"
        views = "two_view"  # what it sees: a key of training.views.VIEWS
        recipe = Recipe("adamw", base_lr=2e-3, weight_decay=0.05, lr_rule="fixed")  # its paper's
        scope = "batch"  # its loss couples the images of a batch
        heads = "linear d-{dim}"

        def __init__(self, backbone, *, dim=32):
            super().__init__(backbone)
            self.projector = nn.Linear(self.width, dim)

        def forward(self, views, scans=None):  # views: list of [B, C, H, W]
            features = [self.backbone(view) for view in views]  # each [B, D]
            first, second = (nn.functional.normalize(self.projector(f), dim=1) for f in features)
            alike = (gather(first) - gather(second)).square().sum(1).mean()  # gather: a batch on several GPUs
            spread = torch.pdist(gather(first)).square().mul(-2).exp().mean().log()
            return Output(alike + spread, features[0].detach(), first.detach())

    monkeypatch.setitem(METHODS, "alike", Alike)

    store = write_store(tmp_path / "frames")
    pretrain(settings_of("alike", frames_seen=320, params={"dim": 16}), store, tmp_path / "encoder")
    losses = [row["loss"] for row in history_of(tmp_path / "encoder")]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    assert ssl_zoo.load_encoder(tmp_path / "encoder").card.method == "alike"
    assert method_table()[-1]["head"] == "linear d-32"


def test_a_sampler_is_one_function_and_one_line(monkeypatch, tmp_path):
    @by_scan(lambda scan, settings: max(1, len(scan) // settings.clip_length))  # how many runs a scan has room for
    def latest(scan, settings, rng):  # the frames of one scan: scan.times in seconds
        return np.arange(max(0, len(scan) - settings.per_scan), len(scan))

    monkeypatch.setitem(SAMPLERS, "latest", Sampler(latest))

    for name, n_frames in (("a.mp4", 12), ("b.mp4", 4)):
        write_video(tmp_path / "scans" / name, n_frames)
    scans = read_scans(tmp_path / "scans", patient_pattern=r"(\w+)\.mp4")
    for budget, kept in (({"per_scan": 5}, [range(7, 12), range(4)]), ({"frames": 14}, [range(2, 12), range(4)])):
        settings = SamplerSettings(sampler="latest", clip_length=2, **budget)
        store = build_store(scans, tmp_path / "frames", sampler=settings, size=32, workers=1, progress=False)
        assert store.index.groupby("scan_id")["frame"].agg(list).tolist() == [list(frames) for frames in kept]


def test_a_source_of_planes_is_one_function_and_one_line(monkeypatch, tmp_path):
    layout = "images {view}_{patient}_{n}.png in one folder"
    facts = Facts(title="Ward 7", shows="apical and subcostal views", layout=layout, patients="the number in the name")

    def ward7(path, patient_pattern=None):  # a row per image, all its values text
        rows = []
        for file in images_in(path):
            label, patient, _ = file.stem.split("_")
            rows.append((file.name, str(file), label, patient, file.name))
        return Listing(pd.DataFrame(rows, columns=["image", "path", "label", "patient_id", "where"]), "Ward 7")

    monkeypatch.setitem(SOURCES, "ward7", published(ward7, facts))

    for name in ("apical_01_1", "apical_01_2", "subcostal_02_1"):
        Image.new("L", (40, 30), 128).save(tmp_path / f"{name}.png")
    planes = open_planes(f"ward7:{tmp_path}")
    assert planes.classes == ("apical", "subcostal")
    assert planes.patients.tolist() == ["01", "01", "02"]


def test_an_encoder_of_your_own_is_one_call(tmp_path):
    backbone = build_backbone("test_resnet", channels=1, size=32)  # a timm model, with weights from wherever
    card = Card(backbone="test_resnet", size=32, channels=1, mean=[0.3], std=[0.2], patients=["S01"])
    save_encoder(tmp_path / "mine", backbone, card)

    images = np.random.default_rng(0).integers(0, 256, (3, 48, 64), np.uint8)
    features = ssl_zoo.load_encoder(tmp_path / "mine")(torch.from_numpy(images))
    assert features.shape == (3, backbone.num_features)


def test_a_published_encoder_is_one_entry(monkeypatch, tmp_path):
    entry = Entry(
        name="echo_small", title="EchoSmall, on echocardiograms", paper="...", licence="...", weights="from where",
        backbone="test_resnet", features=96, prefix_tokens=0, pooling="mean of the last map",  # a timm model
        size=32, fitting="letterbox", resampling="area", mean=IMAGENET_MEAN, std=IMAGENET_STD,  # what it is fed with
        pretraining="in words", pretraining_data=("echonet_dynamic",),  # the audit warns of what it has seen
        unwrap=("state_dict",),  # the key of the file that holds the weights
        drop=(r"^head\.",),  # what of it is not the encoder
        rename=((r"^encoder\.", ""),),  # from its names to those of timm
    )  # fmt: skip
    monkeypatch.setitem(PUBLISHED, entry.name, entry)

    backbone = build_backbone("test_resnet", channels=3, size=32, seed=7).eval()
    weights = {f"encoder.{name}": value for name, value in backbone.state_dict().items()}
    torch.save({"state_dict": weights | {"head.weight": torch.zeros(5, 384)}}, tmp_path / "echo.pth")
    encoder = ssl_zoo.load_encoder(f"echo_small:{tmp_path / 'echo.pth'}")
    images = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8)
    assert torch.equal(encoder(images), backbone(encoder.normalise(images)))
    assert encoder(images).shape == (2, entry.features)


def test_each_addition_is_shown_in_under_thirty_lines():
    shown = [test for name, test in globals().items() if name.startswith("test_a")]
    assert len(shown) == 5
    assert {test.__name__: len(inspect.getsourcelines(test)[0]) for test in shown if not _short(test)} == {}


def _short(test):
    return len(inspect.getsourcelines(test)[0]) < 30


def write_video(path, n_frames):
    """A short grey video at 25 frames/s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
        for number in range(n_frames):
            pixels = np.full((48, 48), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray").reformat(format="yuv420p")))
        container.mux(stream.encode())
