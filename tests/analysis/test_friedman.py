from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.friedman import critical_difference, friedman, friedman_sentences, groups_of
from ssl_zoo.analysis.looks import looks
from ssl_zoo.analysis.ranks import Ranking, Setting, ranks_of


def _ranking(gains: np.ndarray) -> Ranking:
    """A ranking of made-up inits, lowest mean rank first."""
    n, m = gains.shape
    names = ["barlow_twins", "simclr", "moco", "byol", "mae", "dino", "vicreg"][:n]
    order = np.argsort(ranks_of(gains).mean(1), kind="stable")
    settings = [Setting("linear", (j + 1) / 20) for j in range(m)]
    return Ranking(
        "internal", [(names[i], "net") for i in order], settings, gains[order], np.zeros((0, n, m)), left_out=[]
    )


@pytest.mark.parametrize("ties", [False, True])
def test_the_statistic_and_its_p_value_equal_those_of_scipy(ties: bool) -> None:
    gains = np.random.default_rng(0).normal(size=(5, 9)) + np.arange(5)[:, None] / 2
    gains = gains.round(0) if ties else gains
    test, theirs = friedman(_ranking(gains)), stats.friedmanchisquare(*gains)
    assert test is not None
    assert test.statistic == pytest.approx(theirs.statistic)
    assert test.p_value == pytest.approx(theirs.pvalue)


def test_the_critical_difference_equals_the_worked_example_and_the_table_of_demsar() -> None:
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)  # 4 classifiers on 14 data sets
    # q of Demšar's table 5(a) for 2, 5 and 10 classifiers
    for n, q in ((2, 1.960), (5, 2.728), (10, 3.164)):
        assert critical_difference(n, 10) == pytest.approx(q * np.sqrt(n * (n + 1) / 60), abs=2e-3)


def test_groups_join_what_lies_closer_than_the_difference_and_none_lies_within_another() -> None:
    assert groups_of(np.array([1.0, 1.5, 3.0, 3.2, 5.0]), 2.3) == [(0, 3), (2, 4)]
    assert groups_of(np.array([1.0, 2.0, 3.0]), 0.5) == []
    assert groups_of(np.array([1.0, 2.0, 3.0]), 9.0) == [(0, 2)]


def test_the_sentences_name_the_blocks_and_say_that_they_are_not_independent() -> None:
    ranking = _ranking(np.arange(5)[::-1, None] + np.random.default_rng(1).normal(0, 0.3, (5, 12)))
    test = friedman(ranking)
    assert test is not None
    text = " ".join(friedman_sentences(test, ranking, looks((init, net, init) for init, net in ranking.starts)))
    assert "over 12 blocks" in text
    assert "Barlow Twins has the lowest mean rank, and is not told apart from SimCLR" in text
    assert "They are not independent" in text
    assert "share internal test patients" in text


def test_without_a_difference_none_is_claimed() -> None:
    ranking = _ranking(np.random.default_rng(2).normal(size=(4, 3)))
    test = friedman(ranking)
    assert test is not None
    sentences = friedman_sentences(test, ranking, looks((init, net, init) for init, net in ranking.starts))
    assert sentences[1] == "So no difference between the inits is shown at all."


def test_two_inits_or_two_settings_are_too_few() -> None:
    assert friedman(_ranking(np.random.default_rng(3).normal(size=(2, 9)))) is None
    assert friedman(_ranking(np.random.default_rng(3).normal(size=(5, 2)))) is None


@pytest.mark.parametrize("n", [3, 7])
def test_the_figure_names_every_init_with_its_mean_rank_and_cuts_nothing_off(n: int, cut_off) -> None:
    ranking = _ranking(np.random.default_rng(4).normal(size=(n, 8)) + np.arange(n)[:, None])
    test = friedman(ranking)
    assert test is not None
    starts = looks((init, net, init) for init, net in ranking.starts)
    figure = figures.critical_difference_chart(test, ranking, starts)
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    for start, rank in zip(ranking.starts, ranking.mean_ranks, strict=True):
        assert starts[start].label in words
        assert f"{rank:.1f}" in words
    assert f"critical difference {test.critical_difference:.2f}" in words
    assert not cut_off(figure)
