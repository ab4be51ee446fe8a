from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from ssl_zoo.analysis.answer import Answer, make_answer, words
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.analysis.style import number

Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def ask(fake_cells: Callable[..., tuple[pd.DataFrame, pd.DataFrame]]) -> Ask:
    """Skills in, (verdict, all other sentences) out."""

    def answer(skill: dict[str, float], **more: object) -> tuple[str, str]:
        settings = {"modes": ("linear",), "fractions": (0.05, 1.0), "seeds": (0, 1), "cohorts": ("internal",)} | more
        found = make_answer(estimate(*fake_cells(skill=skill, **settings), replicates=400))
        text = " ".join(sentence for finding in found.findings for sentence in finding.sentences)
        return found.verdict.replace("\u00a0", " "), text.replace("\u00a0", " ")

    return answer


def test_a_clear_winner_is_named_as_the_one_to_use(ask: Ask) -> None:
    verdict, text = ask({"random": 0.0, "barlow_twins": 1.6, "byol": 0.4})
    assert "Barlow Twins is the one to use" in verdict
    assert "With 5 % of the labels" in verdict
    assert "significantly above every other" in text
    assert "every one of them is significantly better" in text


def test_a_tie_is_called_a_tie_and_no_winner_is_named(ask: Ask) -> None:
    verdict, text = ask({"random": 0.0, "simclr": 0.9, "vicreg": 0.9, "byol": 0.1})
    assert "the one to use" not in verdict
    assert "tied" in verdict
    assert "SimCLR" in verdict
    assert "VICReg" in verdict
    assert "not significant" in text


def test_when_all_inits_are_tied_no_winner_is_named(ask: Ask) -> None:
    verdict, text = ask({"random": 0.0, "simclr": 0.9, "vicreg": 0.9})
    assert "are better than untrained, but no single winner can be named" in verdict
    assert "no winner can be named" in text


def test_four_test_patients_show_nothing(ask: Ask) -> None:
    verdict, _ = ask({"random": 0.0, "barlow_twins": 1.6, "byol": 0.4}, patients=4)
    assert "no init is shown to be better" in verdict


def test_an_unequal_race_is_no_verdict_on_methods(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    estimates = estimate(*whole, replicates=50)
    assert "unequal budgets" not in make_answer(estimates).verdict
    assert "judges what was done with each method, not the methods" in make_answer(estimates, unequal=True).verdict


def test_methods_that_add_nothing_are_not_recommended(ask: Ask) -> None:
    verdict, text = ask({"random": 0.5, "simclr": 0.5, "byol": 0.49})
    assert "no init is shown to be better than an untrained network" in verdict
    assert "not significantly different" in text


def test_a_loss_is_called_significantly_worse(ask: Ask) -> None:
    verdict, text = ask({"random": 1.2, "simclr": 0.0, "byol": 0.1})
    assert "no init is shown to be better" in verdict
    assert "significantly worse: BYOL and SimCLR" in text
    assert "higher still without any pre-training: random" in text
    assert "−" in text


Cells = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
FEW = {"modes": ("linear",), "fractions": (0.05, 1.0), "seeds": (0, 1), "cohorts": ("internal",)}


def _first(answer: Answer) -> str:
    return answer.sentences[0].replace("\u00a0", " ")


@pytest.fixture
def with_published(fake_cells: Cells) -> Callable[..., str]:
    """Skills of untrained, SimCLR and a published encoder whose backbone nobody ran untrained -> sentence 1."""

    def told(untrained: float, simclr: float, usfm: float) -> str:
        results, predictions = fake_cells(skill={"random": untrained, "simclr": simclr, "usfm": usfm}, **FEW)
        results.loc[results["init"] == "usfm", "backbone"] = "vit_base"
        return _first(make_answer(estimate(results, predictions, replicates=400)))

    return told


NOT_RUN = "; no untrained network of its backbone has been run."


def test_a_gain_that_was_never_measured_is_not_called_insignificant(with_published: Callable[..., str]) -> None:
    told = with_published(0.0, 0.8, 2.0)
    assert "SimCLR is better than untrained; usfm scores highest, macro-F1 0." in told
    assert told.endswith(NOT_RUN)
    assert "not significantly" not in told


def test_a_tie_with_an_init_without_a_baseline_leaves_no_empty_place(with_published: Callable[..., str]) -> None:
    told = with_published(0.0, 0.9, 0.95)
    assert "SimCLR is better than untrained, but no single winner can be named; usfm scores highest, macro" in told
    assert told.endswith(NOT_RUN)
    assert ", ." not in told


def test_the_highest_is_named_even_where_nobody_is_shown_to_be_useful(with_published: Callable[..., str]) -> None:
    told = with_published(0.5, 0.5, 2.0)
    assert "no init is shown to be better than an untrained network" in told
    assert "usfm, the highest, has macro-F1 0." in told
    assert told.endswith(NOT_RUN)


def test_nobody_is_the_one_to_use_where_another_untrained_backbone_scores_higher(fake_cells: Cells) -> None:
    results, predictions = fake_cells(skill={"random": 0.0, "mae": 1.6, "moco": 0.4}, **FEW)
    assert "MAE is the one to use" in _first(make_answer(estimate(results, predictions, replicates=400)))
    strong = predictions["cell"].str.startswith("random-resnet10t")
    predictions.loc[strong, "predicted"] = predictions.loc[strong, "label"]
    told = _first(make_answer(estimate(results, predictions, replicates=400)))
    assert "MAE scores highest, macro-F1 0." in told
    assert "; higher still without any pre-training: random (resnet10t), macro-F1 1.00" in told
    assert "to use" not in told


def test_a_pre_trained_init_is_found_at_the_fraction_it_has_run_with(fake_cells: Cells) -> None:
    results, predictions = fake_cells(skill={"random": 0.0, "simclr": 1.2}, **(FEW | {"fractions": (0.05, 0.1)}))
    run = results.loc[(results["init"] == "random") | (results["fraction"] == 0.1)]
    answer = make_answer(estimate(run, predictions, replicates=100))
    assert "With 10 % of the labels" in _first(answer)
    assert "SimCLR is worth using" in _first(answer)
    assert [finding.fraction for finding in answer.findings] == [0.1]


def test_labels_saved_gives_the_fraction_or_says_that_none_is_shown(ask: Ask) -> None:
    _, text = ask({"random": 0.0, "barlow_twins": 1.0}, fractions=(0.01, 0.1, 1.0))
    assert "Labels saved: Barlow Twins reaches" in text
    _, text = ask({"random": 1.2, "barlow_twins": 0.0})
    assert "Labels saved: none shown" in text


def test_the_external_cohort_gets_its_own_sentence(ask: Ask) -> None:
    _, text = ask({"random": 0.0, "byol": 1.0}, cohorts=("internal", "external"))
    assert "On the external cohort BYOL scores" in text


def test_only_baselines_means_that_there_is_nothing_to_compare(ask: Ask) -> None:
    verdict, text = ask({"random": 0.3})
    assert "nothing to compare" in verdict
    assert not text


def test_without_predictions_nothing_is_said_about_significance(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    answer = make_answer(estimate(whole[0], None))
    text = " ".join(sentence for finding in answer.findings for sentence in finding.sentences)
    assert "nothing can be said about significance" in text
    assert "Holm" not in text


@pytest.mark.parametrize(("value", "text"), [(-0.001, "0.00"), (-0.25, "−0.25"), (0.25, "+0.25")])
def test_numbers_have_a_real_minus_and_no_negative_zero(value: float, text: str) -> None:
    assert number(value, sign=True) == text


def test_lists_read_like_english() -> None:
    assert words(["A"]) == "A"
    assert words(["A", "B", "C"]) == "A, B and C"
