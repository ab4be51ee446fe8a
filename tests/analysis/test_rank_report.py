from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.looks import looks_of
from ssl_zoo.analysis.rank_report import (
    concordance_in_words,
    place_table,
    rank_sentences,
    ranks_report,
    settings_in_words,
    write_rank_files,
)
from ssl_zoo.analysis.ranks import Ranking, Setting, rank_inits
from ssl_zoo.analysis.statistics import Estimates, estimate
from ssl_zoo.cli import app
from ssl_zoo.errors import UserError


@pytest.fixture(scope="module")
def estimates(whole: tuple[pd.DataFrame, pd.DataFrame]) -> Estimates:
    return estimate(*whole, replicates=60)


@pytest.fixture(scope="module")
def two_runs(fake_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    settings = {"fractions": (0.05, 1.0), "seeds": (0, 1), "modes": ("linear",), "pretraining": False, "patients": 12}
    skill = {"random": 0.0, "simclr": 0.2, "moco": 0.5, "vicreg": 1.0, "barlow_twins": 1.5}
    folder = tmp_path_factory.mktemp("two")
    turned = dict(zip(skill, [0.0, 1.5, 1.0, 0.5, 0.2], strict=True))
    return (
        fake_run(folder, name="as_released", skill=skill, **settings),
        fake_run(folder, name="fair", skill=turned, **settings),
    )


def test_the_text_of_one_run_ranks_its_inits_and_says_how_stable_the_order_is(two_runs: tuple[Path, Path]) -> None:
    text = ranks_report([two_runs[0]], replicates=100)
    lines = text.splitlines()
    names = [line.split()[0] for line in lines if " resnet10t " in line]
    assert names == ["Barlow", "VICReg", "MoCo", "SimCLR"]
    assert "linear probe with 5 % and 100 % of the labels" in text
    assert "Kendall's W over the settings is" in text
    assert any(line.startswith("label subset (seed)") for line in lines)
    assert len({line.index("resnet10t") for line in lines if "resnet10t" in line}) == 1  # columns stand aligned
    assert "\u00a0" not in text


def test_the_text_of_two_runs_says_whether_the_order_survives(two_runs: tuple[Path, Path]) -> None:
    text = ranks_report(two_runs, replicates=100)
    assert "as_released against fair: 4 inits and 2 settings in common" in text
    assert "Kendall's tau of the mean ranks −1.00" in text
    assert ranks_report([two_runs[0]] * 2, replicates=100).count("Kendall's tau of the mean ranks 1.00") == 1


def test_the_command_prints_the_text_and_names_what_is_no_run(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ranks", str(two_runs[0]), str(two_runs[1])])
    assert result.exit_code == 0
    assert "as_released against fair" in result.output
    with pytest.raises(UserError, match="nowhere: no such run folder"):
        ranks_report([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="name a run folder"):
        ranks_report([])


def test_a_run_of_one_init_has_nothing_to_rank(fake_run: Callable[..., Path], tmp_path: Path) -> None:
    settings = {
        "fractions": (1.0,),
        "seeds": (0,),
        "modes": ("linear",),
        "cohorts": ("internal",),
        "pretraining": False,
    }
    run = fake_run(tmp_path, skill={"random": 0.0, "byol": 0.5}, **settings)
    with pytest.raises(UserError, match="nothing to rank"):
        ranks_report([run], replicates=20)


def test_the_files_hold_every_cohort_and_all_that_the_report_says(
    estimates: Estimates, whole: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    paths = write_rank_files(tmp_path, whole[0], estimates, unit="patient")
    tables = {path.stem: pd.read_csv(path) for path in paths}
    assert tables.keys() == {"ranks", "rank_settings", "rank_agreement", "rank_concordance"}
    assert set(tables["ranks"]["cohort"]) == {"internal", "external"}
    assert len(tables["ranks"]) == 14  # seven inits in two cohorts
    chances = tables["ranks"].filter(like="p_place_").sum(axis=1)
    assert chances.to_numpy() == pytest.approx(1, abs=1e-4)
    assert len(tables["rank_settings"]) == 7 * 6 * 2
    assert tables["rank_concordance"]["w_of_unrelated_orders"].to_numpy() == pytest.approx(1 / 6, abs=1e-4)
    assert set(tables["rank_agreement"]["factor"]) == {"fraction", "mode", "cohort", "seed"}
    again = [path.read_text() for path in paths]
    assert [path.read_text() for path in write_rank_files(tmp_path, whole[0], estimates, unit="patient")] == again


def test_sentences_name_the_first_its_rivals_and_those_left_out() -> None:
    generator = np.random.default_rng(0)
    gains = np.array([[0.30], [0.28], [0.0]]) * np.ones((3, 4))
    samples = gains + generator.normal(0, 0.05, (300, 3, 1))
    starts = [("byol", "net"), ("simclr", "net"), ("mae", "net")]
    settings = [Setting("linear", fraction) for fraction in (0.01, 0.1, 0.5, 1.0)]
    ranking = Ranking("internal", starts, settings, gains, samples, [("dino", "net")])
    looks = looks_of(pd.DataFrame({"init": ["byol", "simclr", "mae", "dino"], "backbone": "net"}))
    text = " ".join(rank_sentences(ranking, looks)).replace("\u00a0", " ")
    assert "BYOL has the lowest mean rank, 1.0 of 3, over 4 settings" in text
    assert "(SimCLR in " in text
    assert "Kendall's W over the settings is 1.00" in text
    assert "Left out, for having run in too few settings: DINO." in text
    assert (
        settings_in_words(ranking).replace("\u00a0", " ") == "linear probe with 1 %, 10 %, 50 % and 100 % of the labels"
    )
    assert place_table(ranking, looks).rows[0][:2] == ["BYOL", "net"]


@pytest.mark.parametrize(
    ("w", "words"), [(0.95, "hardly changes"), (0.7, "mostly holds"), (0.5, "holds in part"), (0.1, "depends")]
)
def test_w_is_put_into_words(w: float, words: str) -> None:
    assert words in concordance_in_words(w)


def test_the_chart_shows_every_rank_and_cuts_nothing_off(
    estimates: Estimates, cut_off: Callable[[Figure], list[str]]
) -> None:
    ranking = rank_inits(estimates)
    assert ranking is not None
    figure = figures.rank_chart(ranking, looks_of(estimates.table))
    assert [axis.get_title(loc="left") for axis in figure.axes[:3]] == [
        "rank in each setting",
        "mean rank",
        "chance of each place, %",
    ]
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == [f"{rank:g}" for rank in ranking.ranks.ravel()]
    assert not cut_off(figure)
