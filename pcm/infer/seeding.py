"""Reproducible randomness that leaves torch's global state as it was.

>>> import torch
>>> with seeded(3):
...     first = torch.randn(())
>>> with seeded(3):
...     print(bool(torch.randn(()) == first))
True
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pcm.errors import ArgumentError

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int | None) -> Iterator[int]:
    """Run a block under its own torch random state, and restore the caller's afterwards.

    Parameters
    ----------
    seed
        Any integer; ``None`` takes one number from torch's global generator, so that ``torch.manual_seed`` and
        ``pyro.set_rng_seed`` decide, and two calls in a row differ.

    Yields
    ------
    int
        The seed in use.

    Raises
    ------
    ArgumentError
        If ``seed`` is neither an integer nor None.
    """
    if seed is None:
        seed = int(torch.randint(0, 2**62, ()))
    elif isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ArgumentError(f"seed={seed!r} is not an integer; pass an integer, or None to follow torch's generator.")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed) % 2**63)
        yield int(seed)
