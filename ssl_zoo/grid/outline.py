"""How a study stands, before it runs and while it runs: cells, what is done, what has failed, the time that is left."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import pandas as pd

from ssl_zoo.config import Experiment, load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.grid.cells import finished
from ssl_zoo.grid.devices import devices_of
from ssl_zoo.grid.entrants import backbones, entrants, stores
from ssl_zoo.grid.estimate import Estimate, estimate
from ssl_zoo.grid.inits import Init, given_inits
from ssl_zoo.grid.label_budgets import fractions_and_seeds, in_plan
from ssl_zoo.grid.ledger import Entry, look
from ssl_zoo.grid.plan import Plan, make_plan
from ssl_zoo.grid.pretrain import is_trained
from ssl_zoo.grid.progress import in_words
from ssl_zoo.grid.selection import Selection, select
from ssl_zoo.grid.shared_queue import Claim, claims_of
from ssl_zoo.grid.study import Study, open_study
from ssl_zoo.grid.tuning import all_rungs, result_of

KEYS = ["init", "backbone", "encoder", "mode"]
NUMBERS = ["cells", "done", "failed", "left_s"]
DATA = ("phantom", "scans", "frames", "planes", "folder", "data")  # sections from which the study's data are made


def status(run: Path) -> pd.DataFrame:
    """One row per init and mode of a run folder: `init, backbone, encoder, mode, cells, done, failed, left_s`.

    `left_s` are the seconds of work on one worker that its cells still need, about; see `grid.estimate`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = open_study(run)
        return table_of(study, make_plan(study))


def at_work(run: Path) -> list[Claim]:
    """What tasks of a cluster are doing in a run folder at this moment."""
    study = load_experiment(run / "experiment.yaml")
    return claims_of(run, study.compute.slurm.lost_after_s)


def table_of(study: Study, plan: Plan) -> pd.DataFrame:
    """The rows of `status` for a plan or a part of one."""
    known = look(study.run)
    return _table(study, plan, known, estimate(study, plan, known))


def _table(study: Study, plan: Plan, known: dict[str, Entry], left: Estimate) -> pd.DataFrame:
    untrained = {p.init: "not trained yet" for p in plan.pretrainings if p.missing or not is_trained(study, p.training)}
    counts: dict[tuple[Init, str], list[int]] = {}
    for cell in plan.cells:
        count = counts.setdefault((cell.init, cell.mode), [0, 0, 0])
        count[0] += 1
        if (entry := known.get(cell.key)) is not None:
            count[1 if entry.error is None else 2] += 1
    rows = [
        (init.name, init.backbone, untrained.get(init, ""), mode, *count, left.cells.get((init, mode), 0.0))
        for (init, mode), count in counts.items()
    ]
    table = pd.DataFrame(rows, columns=[*KEYS, *NUMBERS])
    return pd.DataFrame(table.groupby(KEYS, sort=False, as_index=False)[NUMBERS].sum())


def outline(study: Study, plan: Plan, *, left_to_others: bool = False) -> str:
    """The table that is shown before a plan runs, and how long it may take.

    `left_to_others` when only a stage of it runs, so that the time of the whole would mislead.
    """
    known = look(study.run)
    left = estimate(study, plan, known)
    table = _table(study, plan, known, left)
    table["left"] = [in_words(seconds) if seconds else "" for seconds in table.pop("left_s")]
    lines = [table.to_string(index=False)] if len(table) else []
    if not left_to_others:
        lines.append(time_left(study.experiment, left))
    return "\n".join(lines)


def time_left(experiment: Experiment, left: Estimate) -> str:
    """One sentence on how long the work may take."""
    compute = experiment.compute
    if compute.executor == "slurm":
        workers, where = compute.slurm.tasks, f"on up to {compute.slurm.tasks} tasks of a cluster"
    else:
        workers = len(devices_of(compute))
        where = f"with {workers} worker{'s' if workers > 1 else ''}"
    how = "from cells finished before" if left.is_measured else "a guess until some cells are finished"
    training = f", of which pre-training {in_words(left.pretraining / workers)}" if left.pretraining else ""
    return f"time left: about {in_words(left.total / workers)} {where}{training} ({how})"


def summary(study: Study, plan: Plan) -> str:
    """One line: how many encoders and cells there are, and how many of them are done."""
    done, failed = finished(study.run, plan.cells)
    trained = sum(not p.missing and is_trained(study, p.training) for p in plan.pretrainings)
    again = f", {len(failed)} failed before and are tried again" if failed else ""
    return (
        f"{study.experiment.name}: {len(plan.pretrainings)} encoders to pre-train ({trained} done), "
        f"{len(plan.cells)} cells ({len(done)} done{again})"
    )


def dry_run(experiment: Experiment, wanted: Selection) -> str:
    """What `run` would do, without writing anything.

    Where the run folder holds the data of other settings, or none yet, nothing is done, and only numbers are told.
    """
    run = experiment.run_folder
    if (run / "planes" / "planes.json").is_file():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = load_experiment(run / "experiment.yaml")
            if all(getattr(saved, name) == getattr(experiment, name) for name in DATA) and _has_stores(experiment):
                study = dataclasses.replace(open_study(run), experiment=experiment)
                return _dry(study, wanted)
    return _unprepared(experiment, wanted)


def _has_stores(experiment: Experiment) -> bool:
    folders = stores(experiment) if entrants(experiment) else {}
    return all((experiment.run_folder / folder / "store.json").is_file() for folder in folders)


def _dry(study: Study, wanted: Selection) -> str:
    plan = make_plan(study)
    part = plan if wanted.is_all else select(plan, wanted, finished(study.run, plan.cells)[1])
    rungs = [rung for rung in all_rungs(study) if result_of(rung) is None]
    first = [f"{study.experiment.name}: {len(rungs)} short runs to choose learning rates"] if rungs else []
    return "\n".join([*first, outline(study, part), summary(study, part)])


def _unprepared(experiment: Experiment, wanted: Selection) -> str:
    """The size of a plan whose data are not there."""
    if not wanted.is_all:
        raise UserError(
            f"{experiment.run_folder}: its data are not prepared yet, so nothing can be chosen; "
            "leave out --only and --retry-failed"
        )
    transfer, planes = experiment.transfer, experiment.planes
    encoders, given = len(entrants(experiment)) * len(experiment.pretrain.seeds), given_inits(experiment)
    inits = len(given) + encoders
    folds = planes.folds if planes.protocol == "cross_validation" else 1
    cells = 0
    for mode in transfer.modes:
        fractions, seeds = fractions_and_seeds(transfer, mode)
        cells += inits * sum(in_plan(transfer, mode, fold) for fold in range(folds)) * len(fractions) * len(seeds)
    names = ", ".join(dict.fromkeys([*backbones(experiment), *(init.backbone for init in given)]))
    return (
        f"{experiment.name}: {encoders} encoders to pre-train, {cells} cells of {inits} inits ({names}); "
        "nothing is prepared yet, so there is no estimate of the time"
    )
