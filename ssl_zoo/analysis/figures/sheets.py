"""Sheets of images: what the unlabelled scans and the labelled planes look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import MUTED, new_figure, styled


def frame_sheet(store: Path, *, scans: int = 6, frames: int = 8, seed: int = 0) -> Figure:
    """A row per scan, drawn at random by `seed` from as many patients as there are; its frames in order of time.

    `store`: a frame store folder (`frames.npy`, `index.parquet`).
    """
    images = np.load(Path(store) / "frames.npy", mmap_mode="r")
    index = pd.read_parquet(Path(store) / "index.parquet")
    owners = index.drop_duplicates("scan_id").sort_values("scan_id")
    owners = owners.sample(frac=1, random_state=np.random.default_rng(seed))
    spread = pd.concat([owners.drop_duplicates("patient_id"), owners.loc[owners.duplicated("patient_id")]])
    chosen = sorted(spread["scan_id"].head(scans))
    rows = []
    for scan in chosen:
        own = pick(index, scan_id=scan).sort_values("frame")
        picked = own.iloc[np.linspace(0, len(own) - 1, min(frames, len(own))).round().astype(int)].to_dict("records")
        rows.append((str(scan), [(images[int(row["row"])], f"{row['time_s']:.1f} s") for row in picked]))
    return _sheet(rows, frames, caption=0.17)


def plane_sheet(
    images: np.ndarray, labels: np.ndarray, *, classes: list[str] | None = None, per_class: int = 8, seed: int = 0
) -> Figure:
    """A row per class with `per_class` planes drawn at random by `seed`; images uint8 `[N, H, W]` or `[N, H, W, 3]`."""
    labels = np.asarray(labels).astype(str)
    present = set(labels)
    classes = [name for name in (classes or sorted(present)) if name in present]
    generator = np.random.default_rng(seed)
    rows = []
    for name in classes:
        picked = generator.permutation(np.flatnonzero(labels == name))[:per_class]
        rows.append((name, [(images[place], "") for place in picked]))
    return _sheet(rows, per_class, caption=0.0)


def _sheet(rows: list[tuple[str, list[tuple[np.ndarray, str]]]], columns: int, *, caption: float) -> Figure:
    """Rows of (name, images with a caption each) on one pair of axes, in which an image has side 1.

    Grey images keep the full range 0..255, so that brightness is comparable.
    `caption`: height of the line below an image.
    """
    step, gap = 1.05 + caption, 0.05
    with styled():
        figure = new_figure(1.02 * (columns + 0.95), 1.02 * step * len(rows))
        axis = figure.subplots()
        for place, (name, images) in enumerate(rows):
            top = place * step
            axis.text(-0.08, top + 0.5, _short(name), ha="right", va="center", fontsize=8, fontweight="bold")
            for column, (image, words) in enumerate(images):
                left = column * (1 + gap)
                box = (left, left + 1, top + 1, top)
                axis.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, extent=box, interpolation="antialiased")
                if words:
                    axis.text(left + 0.5, top + 1.02, words, ha="center", va="top", fontsize=6.5, color=MUTED)
        axis.set_xlim(-0.85, columns * (1 + gap))
        axis.set_ylim(len(rows) * step, -0.03)
        axis.set_aspect("equal")
        axis.set_axis_off()
    return figure


def _short(text: str, limit: int = 11) -> str:
    return text if len(text) <= limit else f"…{text[1 - limit :]}"
