"""Times of several functions, interleaved: each round runs them one after the other, so that drift of the machine's
speed meets them alike and cancels in ratios.

>>> times = interleaved([lambda: sum(range(10)), lambda: sum(range(100_000))], rounds=5)
>>> bool(times.ratio(1, 0) > 10)
True
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Times", "interleaved"]


@dataclass(frozen=True)
class Times:
    """Seconds by function and round."""

    seconds: tuple[tuple[float, ...], ...]

    def median(self, place: int) -> float:
        """Median over rounds, in seconds."""
        return statistics.median(self.seconds[place])

    def ratio(self, place: int, floor: int) -> float:
        """Median over rounds of one function's time as a multiple of another's in the same round."""
        pairs = zip(self.seconds[place], self.seconds[floor], strict=True)
        return statistics.median(mine / other for mine, other in pairs)


def interleaved(functions: Sequence[Callable[[], Any]], *, rounds: int = 31, budget: float = 60.0) -> Times:
    """Run each function once a round, on one torch thread, with the garbage collector held.

    Parameters
    ----------
    functions : sequence of callable
    rounds : int
        At most this many.
    budget : float
        Seconds after which no further round starts; there are three at least.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: list[list[float]] = [[] for _ in functions]
    try:
        for function in functions:  # caches fill
            function()
        gc.collect()
        gc.disable()
        begun = time.perf_counter()
        while len(seconds[0]) < rounds and (len(seconds[0]) < 3 or time.perf_counter() - begun < budget):
            for taken, function in zip(seconds, functions, strict=True):
                start = time.perf_counter()
                result = function()
                taken.append(time.perf_counter() - start)
                del result
    finally:
        gc.enable()
        torch.set_num_threads(threads)
    return Times(tuple(map(tuple, seconds)))
