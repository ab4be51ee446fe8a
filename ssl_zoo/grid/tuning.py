"""`recipe: tuned`: the learning rate of each entrant from a small ladder, by short runs on one pre-training seed.

Every rung multiplies the recipe's `base_lr`, spends `tuning.share` of the budget, and is scored by a criterion that
sees no validation or test patient (`grid.criteria`). The best factor then holds for all seeds. A rung that diverges or
collapses has lost; when all have, the entrant has failed.

`tuning/<init>/x<factor>/` is the encoder of a rung and `x<factor>.json` its result; `tuning/<init>.json` tells the
choice and what it cost.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.encoders.files import load_encoder
from ssl_zoo.files import fingerprint, read_json, write_json
from ssl_zoo.grid.criteria import probe_score, rankme_score, training_planes
from ssl_zoo.grid.entrants import Entrant, entrants, pretrain_settings
from ssl_zoo.grid.pretrain import Report, StopRequested, Training, is_trained, train
from ssl_zoo.grid.study import Study
from ssl_zoo.methods import METHODS
from ssl_zoo.pretraining.budget import Budget
from ssl_zoo.pretraining.endings import Collapsed, Diverged
from ssl_zoo.pretraining.settings import PretrainSettings

VERSION = 1  # raised when a change here changes which rung is chosen
SPENT = ("frames_seen", "views_seen", "forward_passes", "seconds")  # of budget.json, summed over the rungs


@dataclass(frozen=True)
class Rung:
    """One learning rate of one entrant's ladder."""

    init: str  # the entrant's name
    factor: float
    training: Training
    by: str
    key: str  # changes with whatever decides its score

    @property
    def name(self) -> str:
        """For progress and log: "tuning simclr x0.3"."""
        return f"tuning {self.init} x{self.factor:g}"

    @property
    def result_file(self) -> Path:
        folder = self.training.folder
        return folder.with_name(f"{folder.name}.json")


@dataclass(frozen=True)
class Choice:
    """The factor on an entrant's base_lr, or why there is none (yet)."""

    factor: float | None
    missing: str = ""


def is_tuned(entrant: Entrant) -> bool:
    return entrant.pretrain.recipe == "tuned"


def all_rungs(study: Study) -> list[Rung]:
    """The rungs of every entrant that is tuned."""
    return [rung for entrant in entrants(study.experiment) if is_tuned(entrant) for rung in rungs(study, entrant)]


def rungs(study: Study, entrant: Entrant) -> list[Rung]:
    """An entrant's ladder."""
    tuning = entrant.pretrain.tuning
    base = pretrain_settings(study.experiment, entrant, study.experiment.pretrain.seeds[0])
    found = []
    for factor in tuning.ladder:
        settings = dataclasses.replace(with_factor(base, factor), budget=part_of(base, tuning.share))
        judged_on = study.planes.pictures if tuning.by == "probe" else study.stores[entrant.store].fingerprint
        train_rows = study.splits[0].train.tolist() if tuning.by == "probe" else []
        folder = study.run / "tuning" / entrant.name / f"x{factor:g}"
        training = Training(settings, folder, entrant.pretrain.on_collapse, entrant.store)
        trained = [training.fingerprint(study), training.on_collapse]
        key = fingerprint([VERSION, trained, tuning.by, judged_on, train_rows])
        found.append(Rung(entrant.name, factor, training, tuning.by, key))
    return found


def with_factor(settings: PretrainSettings, factor: float) -> PretrainSettings:
    """The settings with `base_lr` multiplied; with 1, they are those of `recipe: paper`."""
    if factor == 1:
        return settings
    return dataclasses.replace(settings, recipe={**settings.recipe, "base_lr": base_lr(settings) * factor})


def base_lr(settings: PretrainSettings) -> float:
    """The learning rate of the method's recipe, or the one that the experiment puts in its place."""
    return float(settings.recipe.get("base_lr", METHODS[settings.method].recipe.base_lr))


def part_of(settings: PretrainSettings, share: float) -> Budget:
    """A share of a run's budget, one step at least."""
    budget, batch = settings.budget, settings.batch_size
    if budget.frames_seen is not None:
        return Budget(frames_seen=max(batch, round(budget.frames_seen * share)))
    if budget.steps is not None:
        return Budget(steps=max(1, round(budget.steps * share)))
    assert budget.seconds is not None
    return Budget(seconds=budget.seconds * share)


def result_of(rung: Rung) -> dict[str, Any] | None:
    """A rung's recorded result: `score`, or `error` where it has lost; None while there is none for these settings."""
    if not rung.result_file.is_file():
        return None
    result = read_json(rung.result_file)
    return result if result.get("key") == rung.key else None


def climb(study: Study, rung: Rung, device: str, report: Report, stop_requested: StopRequested) -> None:
    """Train a rung, score it and write its result. Interrupted, it goes on from its checkpoint the next time."""
    started = time.monotonic()
    found: dict[str, Any] = {"score": None, "error": None}
    try:
        train(study, rung.training, device, report, stop_requested)
        found["score"] = score(study, rung, device)
    except (Diverged, Collapsed, FloatingPointError) as error:
        found["error"] = f"{type(error).__name__}: {error}"
    if is_trained(study, rung.training):
        budget = read_json(rung.training.folder / "budget.json")
    else:
        budget = {"seconds": round(time.monotonic() - started, 2)}  # it has lost on the way
    about = {"key": rung.key, "factor": rung.factor, "base_lr": base_lr(rung.training.settings), "by": rung.by}
    write_json(rung.result_file, {**about, **found, "budget": budget})


def score(study: Study, rung: Rung, device: str) -> float:
    """A trained rung by its criterion; higher is better."""
    encoder = load_encoder(rung.training.folder)
    if rung.by == "rankme":
        return rankme_score(encoder, study.stores[rung.training.store], device)
    return probe_score(encoder, training_planes(study.planes, study.images, study.splits[0]), device)


def choose(study: Study, entrant: Entrant) -> Choice:
    """The factor of the best rung; of equal ones the nearest to 1, then the smaller."""
    results = [result_of(rung) for rung in rungs(study, entrant)]
    left = sum(result is None for result in results)
    if left:
        return Choice(None, f"its learning rate is not chosen yet ({left} of {len(results)} rungs left)")
    known = [result for result in results if result is not None]
    scored = [result for result in known if result["error"] is None]
    if not scored:
        told = "; ".join(f"x{result['factor']:g}: {result['error']}" for result in known)
        return Choice(None, f"every learning rate of its ladder has lost ({told})")
    best = max(scored, key=lambda r: (r["score"], -abs(math.log(r["factor"])), -r["factor"]))
    return Choice(best["factor"])


def write_choices(study: Study) -> list[str]:
    """Write `tuning/<init>.json` for every ladder that is climbed; one sentence for each."""
    told = []
    for entrant in entrants(study.experiment):
        if not is_tuned(entrant):
            continue
        results = [result_of(rung) for rung in rungs(study, entrant)]
        known = [result for result in results if result is not None]
        if len(known) < len(results):
            continue
        record = _record(study, entrant, known)
        path = study.run / "tuning" / f"{entrant.name}.json"
        if not path.is_file() or read_json(path) != record:
            write_json(path, record)
        told.append(_sentence(record))
    return told


def _record(study: Study, entrant: Entrant, results: list[dict[str, Any]]) -> dict[str, Any]:
    tuning, factor = entrant.pretrain.tuning, choose(study, entrant).factor
    seed = study.experiment.pretrain.seeds[0]
    base = pretrain_settings(study.experiment, entrant, seed)
    return {
        "init": entrant.name,
        "method": entrant.method,
        "backbone": entrant.backbone,
        "pretrain_seed": seed,
        "by": tuning.by,
        "share": tuning.share,
        "base_lr": base_lr(base),
        "chosen_factor": factor,
        "chosen_base_lr": None if factor is None else base_lr(with_factor(base, factor)),
        "rungs": [{name: value for name, value in result.items() if name != "key"} for result in results],
        "cost": {name: round(sum(result["budget"].get(name, 0) for result in results), 2) for name in SPENT},
    }


def _sentence(record: dict[str, Any]) -> str:
    scores = [
        f"x{rung['factor']:g} {'lost' if rung['error'] else format(rung['score'], '.3g')}" for rung in record["rungs"]
    ]
    chosen = "no learning rate is left" if record["chosen_factor"] is None else f"base_lr {record['chosen_base_lr']:g}"
    cost = f"{record['cost']['frames_seen']:g} frames, {record['cost']['seconds']:.0f} s"
    return f"tuned {record['init']}: {chosen} ({record['by']}: {', '.join(scores)}; {cost})"
