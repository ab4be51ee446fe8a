"""What each method of an experiment sees: contact sheets of real frames and of the views that are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ssl_zoo.analysis.figures.views import ViewPage, ViewRow, view_page
from ssl_zoo.analysis.style import LABELS, styled
from ssl_zoo.config import Experiment, load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import replacing
from ssl_zoo.grid.entrants import entrants, pretrain_settings
from ssl_zoo.methods import METHODS
from ssl_zoo.pretraining.settings import PretrainSettings
from ssl_zoo.scans.clips import PairSampler
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.training.views import ViewRecipe, ViewSettings, make_views, view_recipes, view_settings

TILES = 6  # columns of views on a page
THEN = {  # what a method itself does to its views, which no sheet shows
    "mae": "MAE then hides most patches of the view and sees the rest.",
    "inpainting_autoencoder": "The inpainting autoencoder then erases a part of its input.",
}


@dataclass(frozen=True)
class Shown:
    """Methods that get the same views: their labels and names, and the settings of one of them."""

    labels: list[str]
    methods: list[str]
    settings: PretrainSettings

    @property
    def recipe(self) -> str:
        """The name of the view recipe."""
        return METHODS[self.methods[0]].views


def view_sheet(
    run: Path,
    experiment: Experiment | None = None,
    *,
    out: Path | None = None,
    scans: int = 4,
    draws: int | None = None,
    seed: int = 0,
) -> list[Path]:
    """Draw what the methods of an experiment see, one page for all that get the same views, and return the PNG files.

    Frames come from the run's frame store, one each of `scans` scans of different patients where there are as many,
    drawn by `seed`; views are made as in training. `draws` sets of views for each frame (None: as many as fit a page).
    Files are `views_<recipe>.png` in `out` (None: the run's `figures`). `experiment` is the one to show
    (None: the run's own), so that settings can be looked at before they are trained with.

    Raises UserError when the run has no frames, or the experiment no method.
    """
    for name, value in (("scans", scans), ("draws", draws)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1, not {value}")
    run = Path(run)
    if not (run / "frames" / "store.json").is_file():
        raise UserError(f"{run}: no frames here to make views of; write them first with `ssl-zoo frames EXPERIMENT`")
    store = FrameStore.open(run / "frames")
    experiment = load_experiment(run / "experiment.yaml") if experiment is None else experiment
    groups = shown_together(experiment)
    if not groups:
        raise UserError(f"{experiment.name}: pretrain.methods is empty, so there are no views to show")
    folder = run / "figures" if out is None else Path(out)
    rows = choose_rows(store.index, scans, seed)
    pages = []
    for group in groups:
        same_recipe = [other for other in groups if other.recipe == group.recipe]
        suffix = f"_{same_recipe.index(group) + 1}" if len(same_recipe) > 1 else ""
        figure = view_page(page_of(store, rows, group, draws=draws, seed=seed))
        pages.append(folder / f"views_{group.recipe}{suffix}.png")
        with styled(), replacing(pages[-1]) as part:
            figure.savefig(part, format="png", dpi=150, metadata={"Software": None})
    return pages


def shown_together(experiment: Experiment) -> list[Shown]:
    """The experiment's methods (and variants), grouped by what they see."""
    groups: dict[str, Shown] = {}
    for entrant in entrants(experiment):
        settings = pretrain_settings(experiment, entrant, seed=0)
        name = METHODS[entrant.method].views
        paired = len(view_recipes(name)) > 1
        pairing = (settings.pairing, settings.window_s, settings.pair_weighting) if paired else None
        group = groups.setdefault(str((name, sorted(settings.views.items()), pairing)), Shown([], [], settings))
        _, _, variant = entrant.name.partition("@")
        group.labels.append(
            LABELS.get(entrant.method, entrant.method.replace("_", " ")) + (f" ({variant})" if variant else "")
        )
        group.methods.append(entrant.method)
    return list(groups.values())


def choose_rows(index: pd.DataFrame, scans: int, seed: int) -> np.ndarray:
    """Rows of a frame store's index, one frame each of different scans, of different patients as far as there are."""
    rng = np.random.default_rng(seed)
    mixed = index.sample(frac=1, random_state=rng)
    own = mixed.drop_duplicates("scan_id")
    spread = pd.concat([own.drop_duplicates("patient_id"), own.loc[own.duplicated("patient_id")]])
    return spread.head(scans).sort_values("scan_id")["row"].to_numpy(np.int64)


def page_of(store: FrameStore, rows: np.ndarray, group: Shown, *, draws: int | None, seed: int) -> ViewPage:
    """The frames in `rows` and what the methods of `group` are given of them."""
    settings, overrides = group.settings, view_settings(group.settings.views)
    recipes = view_recipes(group.recipe, overrides)
    large = sum(not recipe.small for recipe in recipes)
    draws = max(2, TILES // (large + (large < len(recipes)))) if draws is None else draws
    paired = len(recipes) > 1 and settings.pairing != "same_frame"
    sampler = PairSampler(store.index, settings.pairing, settings.window_s, settings.pair_weighting)
    partners = sampler.pairs(rows, np.random.default_rng(seed)) if paired else rows

    first, second = (torch.from_numpy(store.batch(chosen)) for chosen in (rows, partners))
    generator = torch.Generator().manual_seed(seed)
    shown = [_draw(group, first, second, store, overrides, generator) for _ in range(draws)]  # [draw][view] [B, h, w]
    seconds = store.index.set_index("row")["time_s"]
    names = store.index.set_index("row")["scan_id"]
    page = ViewPage(
        title=f"{', '.join(group.labels)}: views “{group.recipe}”, {settings.size} pixels",
        lines=[*_in_lines(recipes), *(THEN[method] for method in dict.fromkeys(group.methods) if method in THEN)],
        given=["frame", "partner"] if paired else ["frame"],
    )
    for place, (row, partner) in enumerate(zip(rows, partners, strict=True)):
        given = [(first[place].numpy() / 255, f"at {seconds[row]:.2f} s")]
        if paired:
            apart = seconds[partner] - seconds[row]
            given.append(
                (second[place].numpy() / 255, f"{apart:+.2f} s".replace("-", "−") if row != partner else "none")
            )
        page.rows.append(ViewRow(_short(str(names[row])), given, [[view[place] for view in draw] for draw in shown]))
    return page


def _draw(
    group: Shown,
    first: torch.Tensor,
    second: torch.Tensor,
    store: FrameStore,
    overrides: ViewSettings,
    generator: torch.Generator,
) -> list[np.ndarray]:
    """One draw of the views of a batch, as in training, with the normalisation undone: each `[B, h, w]` or
    `[B, h, w, 3]` in 0..1.
    """
    settings = group.settings
    views = make_views(
        group.recipe,
        first,
        second,
        size=settings.size,
        mean=[store.mean] * settings.channels,
        std=[store.std] * settings.channels,
        generator=generator,
        settings=overrides,
    )
    pixels = [(view * store.std + store.mean).clamp(0, 1).permute(0, 2, 3, 1).numpy() for view in views]
    return [view[..., 0] if view.shape[-1] == 1 else view for view in pixels]


def _in_lines(recipes: tuple[ViewRecipe, ...]) -> list[str]:
    """What the views of a method are, one line for those that are drawn alike."""
    names: dict[ViewRecipe, list[str]] = {}
    for number, recipe in enumerate(recipes, 1):
        names.setdefault(recipe, []).append(str(number))
    lines = []
    for recipe, numbers in names.items():
        if len(recipes) == 1:
            who = "The view"
        elif recipe.small:
            who = f"{len(numbers)} local crop{'s' * (len(numbers) > 1)}"
        else:
            who = f"View{'s' * (len(numbers) > 1)} {' and '.join(numbers)}"
        lines.append(f"{who}: {in_words(recipe)}.")
    return lines


def in_words(recipe: ViewRecipe) -> str:
    """A recipe in one line, leaving out what it leaves out: "crop 30–100 % of the area, flip 50 %, ..."."""
    r = recipe
    low, high = (f"{100 * bound:.0f}" for bound in r.crop_scale)
    words = ["whole frame" if r.crop_scale == (1.0, 1.0) else f"crop {low}–{high}\u00a0% of the area"]
    if r.min_content:
        words.append(f"at least {100 * r.min_content:.0f}\u00a0% of the sector")
    words += [f"{name} ±{value:g}°" for name, value in (("rotation", r.rotation), ("tilt", r.tilt)) if value]
    chances = {"flip": r.flip, "gain, contrast and gamma": r.jitter, "blur": r.blur, "noise": r.noise}
    chances |= {"solarise": r.solarise, "depth gain": r.tgc, "speckle cells": r.cells, "haze": r.haze}
    chances |= {"shadow": r.shadow}
    return ", ".join([*words, *(f"{name} {100 * chance:.0f}\u00a0%" for name, chance in chances.items() if chance)])


def _short(text: str, limit: int = 12) -> str:
    return text if len(text) <= limit else f"…{text[1 - limit :]}"
