"""Barlow Twins as lightly's documentation trains it: its transform on PIL images in a DataLoader's workers, its head
and loss, SGD (docs.lightly.ai, examples, "Barlow Twins"). Only the backbone, the width of the head and the sizes are
ours, so that both sides have the same network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightly.data import LightlyDataset
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.scans.store import FrameStore

HEAD = 1024  # hidden and output units, those of ssl_zoo's default


@dataclass(frozen=True)
class Way:
    """How lightly is used."""

    grey: bool  # grey images out of memory; else colour images out of PNG files, which is what its loader makes of them
    bf16: bool = False
    lean: bool = False  # without the operations that ssl_zoo does not have, and that do nothing on grey images

    @property
    def channels(self) -> int:
        return 1 if self.grey else 3


class GreyFrames(Dataset):
    """The store's frames as grey PIL images, for `LightlyDataset.from_torch_dataset`."""

    def __init__(self, store: FrameStore, count: int) -> None:
        self.frames, self.count = store.frames, count
        self.transform: Any = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.frames[row])), 0


class LightlyTraining:
    """The model, its optimiser and its loader, with an epoch of `steps` batches."""

    def __init__(
        self,
        way: Way,
        store: FrameStore,
        folder: Path,
        *,
        size: int,
        batch_size: int,
        steps: int,
        workers: int,
        device: str,
    ) -> None:
        self.way, self.device = way, device
        count = steps * batch_size
        transform: Any = _transform(way, store, size)
        data: Any
        if way.grey:
            names = {"index_to_filename": lambda dataset, row: str(row)}
            data = LightlyDataset.from_torch_dataset(GreyFrames(store, count), transform=transform, **names)
        else:
            data = LightlyDataset(str(_png_files(store, count, folder / f"png-{count}")), transform=transform)
        self.loader = DataLoader(
            data,
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.startswith("cuda"),
        )
        backbone = build_backbone("resnet10t", channels=way.channels, size=size)
        head = BarlowTwinsProjectionHead(int(backbone.num_features), HEAD, HEAD)  # pyright: ignore[reportArgumentType]
        self.model = nn.Sequential(backbone, head).to(device)
        self.criterion = BarlowTwinsLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.06)

    def train(self) -> None:
        """One epoch."""
        for batch in self.loader:
            first, second = (view.to(self.device, non_blocking=True) for view in batch[0])
            self._step(first, second)

    def only_views(self) -> None:
        """One epoch in which the views are made and nothing is done with them."""
        for batch in self.loader:
            for view in batch[0]:
                view.to(self.device, non_blocking=True)

    def _step(self, first: Tensor, second: Tensor) -> None:
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=self.way.bf16):
            left, right = self.model(first), self.model(second)
            loss = self.criterion(left, right)
        float(loss.detach())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def _transform(way: Way, store: FrameStore, size: int) -> BYOLTransform:
    """lightly's transform with the defaults of its two views."""
    changes: dict[str, Any] = {"input_size": size}
    if way.grey:  # three means on one channel would give three channels
        changes["normalize"] = {"mean": [store.mean], "std": [store.std]}
    if way.lean:
        changes |= {"cj_sat": 0.0, "cj_hue": 0.0, "random_gray_scale": 0.0}
    return BYOLTransform(BYOLView1Transform(**changes), BYOLView2Transform(**changes))


def _png_files(store: FrameStore, count: int, folder: Path) -> Path:
    """The first frames of the store as image files."""
    if not folder.is_dir():
        folder.mkdir()
        for row in range(count):
            Image.fromarray(store.frames[row]).save(folder / f"{row:06d}.png")
    return folder
