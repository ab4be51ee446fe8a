"""Pieces of work on several cores: in order, each with one of torch's threads, and none left over."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from ssl_zoo.transfer.side_by_side import side_by_side


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_as_many_items_at_a_time_as_threads_each_with_one_of_them() -> None:
    both_at_work = threading.Barrier(2)

    def work(item: int) -> tuple[int, int]:
        both_at_work.wait(timeout=30)  # would break if one came after the other
        return item, torch.get_num_threads()

    assert list(side_by_side(work, range(4), "cpu")) == [(item, 1) for item in range(4)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_what_one_item_raises_comes_in_its_place() -> None:
    def work(item: int) -> int:
        if item == 1:
            raise ValueError("no good")
        return item

    found = side_by_side(work, range(3), "cpu")
    assert next(found) == 0
    with pytest.raises(ValueError, match="no good"):
        next(found)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_items_that_have_not_begun_are_dropped_when_nobody_wants_them() -> None:
    begun, go_on = [], threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        assert item == 0 or go_on.wait(timeout=30)
        return item

    found = side_by_side(work, range(100), "cpu")
    assert next(found) == 0
    threading.Timer(0.2, go_on.set).start()
    found.close()
    assert len(begun) < 10
    assert torch.get_num_threads() == 2


def test_on_a_single_thread_the_items_are_done_when_they_are_asked_for() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begun: list[int] = []
        found = side_by_side(begun.append, range(3), "cpu")
        next(found)
        assert begun == [0]
        assert list(side_by_side(lambda item: threading.current_thread(), [0], "cpu")) == [threading.main_thread()]
    finally:
        torch.set_num_threads(before)
