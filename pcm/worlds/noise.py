"""Noise by counter: the uniform behind (seed, row, site, draw) is a pure function of those four.

It does not depend on how many rows or draws are asked for, in which order, or by how many workers, so that any split
of a query gives the same noise bits. The generator is SplitMix64 (Steele, Lea & Flood 2014) started at a mixed key.

>>> import numpy as np
>>> rows = np.arange(3, dtype=np.uint64)
>>> whole = uniforms(7, "x", rows, range(4))
>>> bool((whole[2:, 1:] == uniforms(7, "x", rows[1:], range(2, 4))).all())
True
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcm.arguments import check_seed
from pcm.couplings.arrivals import mix

__all__ = ["choose_seed", "uniforms"]

#: Uniforms made at a time: 256 kB.
CHUNK = 32_768

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def choose_seed(seed: int | None) -> int:
    """``seed``, or one from torch's global generator, so that ``pyro.set_rng_seed`` is honoured."""
    if seed is None:
        return int(torch.randint(2**62, ()).item())
    return check_seed(seed, optional=True)


def uniforms(
    seed: int,
    site: str,
    rows: NDArray[np.uint64],
    draws: range,
    inner: tuple[int, ...] = (),
    event: tuple[int, ...] = (),
) -> Tensor:
    """Uniforms in (0, 1), shape ``(draw, *inner, unit, *event)``, float64.

    Parameters
    ----------
    seed : int
    site : str
        Name of the site whose noise it is.
    rows : numpy.ndarray of uint64, shape (unit,)
        Row ids.
    draws : range
        Which draws.
    """
    text = f"{seed}\x1f{site}".encode()
    key = np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), dtype=np.uint64)[0]
    width, depth = math.prod(event), math.prod(inner)
    with np.errstate(over="ignore"):
        lanes = _mix((rows ^ key) + _GOLDEN)
        counter = np.arange(draws.start * depth * width, draws.stop * depth * width, draws.step, dtype=np.uint64)
        counter = _mix(counter * _GOLDEN + key).reshape(len(draws) * depth, 1, width)
        values = np.empty((len(draws) * depth, len(rows), width))
        step = max(1, CHUNK // max(1, len(rows) * width))
        for start in range(0, len(values), step):  # in chunks that stay in the cache, on buffers of their own
            bits = lanes[None, :, None] + counter[start : start + step]
            part = values[start : start + step]
            mix(bits, part.view(np.uint64))
            bits >>= np.uint64(11)
            part[...] = bits
            part += 0.5
            part *= 2.0**-53
    return torch.from_numpy(values).reshape(len(draws), *inner, len(rows), *event)


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = bits.copy()
    mix(bits, np.empty_like(bits))
    return bits
