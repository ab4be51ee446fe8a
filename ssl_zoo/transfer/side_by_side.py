"""Many small pieces of work on the cores that torch was given, each piece on one core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")


def side_by_side(work: Callable[[Item], Found], items: Iterable[Item], device: str | torch.device) -> Iterator[Found]:
    """`work` of each item, in the items' order; an exception of one is raised in its place.

    On the CPU as many items at a time as torch has threads, each of them with one: tensors of a few thousand numbers
    are too small to be divided among cores, and threads that share them wait for each other longer than they work.
    Numbers then do not depend on how many threads there are. On a GPU one item after the other. Items that have not
    begun are dropped when the iterator is closed.
    """
    threads = torch.get_num_threads()
    if threads == 1 or torch.device(device).type != "cpu":
        yield from map(work, items)
        return
    torch.set_num_threads(1)  # of every thread that begins from now on, too
    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
