"""What an experiment changes in the views of its methods."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.training.view_recipes import ACOUSTIC, PRESETS, VIEWS, ViewRecipe

PROBABILITIES = ("flip", "jitter", "blur", "noise", "solarise", *ACOUSTIC)
SHARES = ("min_content", "local_min_content", "haze_level", "shadow_loss")
FACTORS = ("gain", "contrast", "tgc_gain")  # they change 1 by so much, and leave it positive


@dataclass(frozen=True)
class ViewSettings:
    """What an experiment changes in the views of all methods; None leaves each method's own value.

    The fields are those of `ViewRecipe`. `crop_scale` and `min_content` do not touch local crops; `local_crop_scale`,
    `local_min_content` and `local_crops` (their number) touch nothing else. An operation of the papers (`jitter`,
    `blur`, `noise`, `solarise`, crops) is not applied to a method whose views leave it out.

    The operations for ultrasound (`tgc`, `cells`, `haze`, `shadow`, `tilt`, `min_content`) are in no paper's views.
    A field that names one switches it on for every view of every method, local crops too. `preset: ultrasound`
    switches on all of them at mild strengths; the fields beside it win. Methods with a single view (MAE, the
    autoencoders) rebuild what they see, so the preset gives them tilt and the crops' content alone: noise and shadows
    would be part of their target. They get the others where the experiment names them.

    How large should crops be? Where the diagnosis is made from the whole image, views that keep its meaning did
    best, and where it is made from a small finding, crops (arXiv 2504.07904: COVID-19 against B-lines and pleural
    effusion). A large `crop_scale` and `min_content` serve the first, a low `crop_scale` the second.
    """

    preset: str = "paper"
    crop_scale: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    min_content: float | None = None
    flip: float | None = None
    rotation: float | None = None
    tilt: float | None = None
    jitter: float | None = None
    gain: float | None = None
    contrast: float | None = None
    gamma: float | None = None
    blur: float | None = None
    blur_sigma: tuple[float, float] | None = None
    noise: float | None = None
    speckle: float | None = None
    grain: float | None = None
    solarise: float | None = None
    tgc: float | None = None
    tgc_gain: float | None = None
    cells: float | None = None
    cells_deviation: float | None = None
    haze: float | None = None
    haze_level: float | None = None
    shadow: float | None = None
    shadow_loss: float | None = None
    shadow_width: tuple[float, float] | None = None
    local_crop_scale: tuple[float, float] | None = None
    local_min_content: float | None = None
    local_crops: int | None = None

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UserError(f"views: {unknown('preset', self.preset, PRESETS)}")
        for name, value in self.given().items():
            _check(name, value)
        for operation in ACOUSTIC:  # a strength alone would silently do nothing
            strengths = [name for name in self.given() if name.startswith(f"{operation}_")]
            if strengths and not {**PRESETS[self.preset], **self.given()}.get(operation):
                raise UserError(
                    f"views: {strengths[0]} changes nothing while {operation}, its probability, is not above 0"
                )

    def given(self) -> dict[str, Any]:
        """The fields that are set, without the preset."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if field.name != "preset" and (value := getattr(self, field.name)) is not None
        }


def view_settings(values: Mapping[str, Any]) -> ViewSettings:
    """The settings of a mapping such as an experiment's `pretrain.views`; lists become ranges.

    Raises UserError for unknown keys (with the nearest valid one) and for impossible values.
    """
    known = [field.name for field in dataclasses.fields(ViewSettings)]
    for key in values:
        if key not in known:
            raise UserError(f"views: {unknown('key', str(key), known)}")
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return ViewSettings(**fields)


def view_recipes(name: str, settings: ViewSettings | None = None) -> tuple[ViewRecipe, ...]:
    """The recipes of a method's views, one per view, with the experiment's changes."""
    if name not in VIEWS:
        raise unknown("view recipe", name, VIEWS)
    recipes = VIEWS[name]
    if settings is None:
        return recipes
    preset = dict(PRESETS[settings.preset])
    if len(recipes) == 1:
        preset = {key: value for key, value in preset.items() if key not in ACOUSTIC}
    changes = preset | settings.given()
    if settings.local_crops is not None:
        small = [recipe for recipe in recipes if recipe.small]
        recipes = (*(r for r in recipes if not r.small), *(small[:1] * settings.local_crops))
    return tuple(_changed(recipe, changes) for recipe in recipes)


def _changed(recipe: ViewRecipe, changes: dict[str, Any]) -> ViewRecipe:
    """The recipe with an experiment's changes."""
    fields = {field.name for field in dataclasses.fields(ViewRecipe)}
    own = {name: value for name, value in changes.items() if name in fields}
    for name in ("jitter", "blur", "noise", "solarise"):
        if getattr(recipe, name) == 0:
            own.pop(name, None)
    if recipe.crop_scale == (1.0, 1.0):
        own.pop("crop_scale", None)
        own.pop("aspect", None)
    if recipe.small:
        for name in ("crop_scale", "min_content"):
            own.pop(name, None)
            if f"local_{name}" in changes:
                own[name] = changes[f"local_{name}"]
    return dataclasses.replace(recipe, **own)


def _check(name: str, value: Any) -> None:
    """UserError for a value that a field of ViewSettings cannot have, naming both."""

    def need(right: bool, what: str) -> None:
        if not right:
            shown = tuple(value) if isinstance(value, (tuple, list)) else repr(value)
            raise UserError(f"views: {name} {what}, not {shown}")

    if name == "local_crops":
        need(_is_number(value) and value == int(value) and value >= 0, "is a count of 0 or more")
    elif name in ("crop_scale", "local_crop_scale"):
        need(_is_range(value) and value[0] > 0 and value[1] <= 1, "is a range of area shares within 0..1")
    elif name == "aspect":
        need(_is_range(value) and value[0] > 0, "is a range of widths to heights above 0")
    elif name == "blur_sigma":
        need(_is_range(value) and value[0] >= 0, "is a range of pixels, 0 or more")
    elif name == "shadow_width":
        need(_is_range(value) and value[0] > 0 and value[1] <= 1, "is a range of shares of the sector within 0..1")
    elif name in PROBABILITIES:
        need(_is_number(value) and 0 <= value <= 1, "is a probability in 0..1")
    elif name in SHARES:
        need(_is_number(value) and 0 <= value <= 1, "is a share in 0..1")
    elif name in FACTORS:
        need(_is_number(value) and 0 <= value < 1, "must lie in 0..1")
    elif name == "tilt":
        need(_is_number(value) and 0 <= value <= 45, "is an angle of 0 to 45 degrees")
    else:
        need(_is_number(value) and value >= 0, "is a number of 0 or more")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value: Any) -> bool:
    """Two numbers in order."""
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2 and all(_is_number(bound) for bound in value)
    return is_pair and value[0] <= value[1]
