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

__all__ = ["Times", "interleaved", "settle_allocator"]


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


def settle_allocator() -> None:
    """Bring glibc's allocator where a process that has freed a large array has it: it then keeps up to 64 MiB of freed
    memory instead of giving it back, and one query's buffers are the next one's without page faults.

    Freeing a mapped chunk of just under 32 MiB does it; the memory is never touched. Elsewhere this does nothing. A
    fresh process pays a fault for each 4 KiB, by hand or not: half the time at 1e5 units, and what code by hand with
    many buffers takes at 1e6 then depends on what ran before.
    """
    chunk = torch.empty(4_000_000, dtype=torch.float64)
    del chunk


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
