r"""Arrival times of all integers at once: unit exponentials by counter, and a search for the first to arrive.

The time ``X_k`` of outcome ``k`` is a function of one key (a uniform number) and ``k`` alone, whatever law it races
under and however many others do. It is drawn top-down, by groups of :data:`GROUP` neighbours,

    M_G ~ Exponential(GROUP),  the earliest of group G, at a place that is uniform in it;
    X_k = M_G + Exponential(1)  of the others (no memory: these are GROUP independent unit exponentials),

so that one number bounds a whole group from below. The winner of ``min_k W d_k + X_k s_k`` is then found without most
of the ``X_k``: a group whose bound ``W min d + M_G min s`` lies behind the best arrival so far is not looked into.

The counter is mixed by SplitMix64's finaliser (Steele, Lea & Flood 2014). All functions are torch operators, eager,
under ``torch.func.vmap`` and traced, on numpy arrays inside.

>>> import torch
>>> key = torch.tensor([0.3, 0.7], dtype=torch.float64)
>>> every = arrivals(key[:, None], torch.arange(0.0, 400.0, dtype=torch.float64))
>>> start, even = torch.zeros(2, dtype=torch.float64), torch.ones(2, 25, GROUP, dtype=torch.float64)
>>> never = torch.full((2,), torch.inf, dtype=torch.float64)
>>> first, outcome = winner(key, start, even, 0.0 * even, never, never)
>>> bool((outcome == every.argmin(-1)).all()), bool((first == every.amin(-1)).all())
(True, True)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcm.couplings.special import elementwise

__all__ = ["GROUP", "arrivals", "mix", "shared", "winner"]

GROUP = 16
"""Neighbours that share a bound: outcomes ``16 G`` to ``16 G + 15``."""

#: Bounds computed at a time: 256 kB.
_CHUNK = 32_768

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_OF_GROUPS, _OF_ALL = np.uint64(0xD1B54A32D192ED03), np.uint64(0x8CB92BA72F3D8DD7)
"""The counter's step, and what tells groups, and the number that all outcomes share, from outcomes."""

Floats = NDArray[np.float64]
Bits = NDArray[np.uint64]


def mix(bits: Bits, spare: Bits) -> None:
    """The finaliser of SplitMix64, a bijection of 64 bits, in place; ``spare`` is overwritten."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None)):
        np.right_shift(bits, np.uint64(shift), out=spare)
        bits ^= spare
        if factor is not None:
            bits *= np.uint64(factor)


def shared(key: Tensor) -> Tensor:
    """``W``, a unit exponential of the key alone, independent of all arrival times; same shape."""
    return _shared(key)


def arrivals(key: Tensor, outcome: Tensor) -> Tensor:
    """``X_k``; the broadcast shape.

    Parameters
    ----------
    key : Tensor
        Uniforms in (0, 1).
    outcome : Tensor
        Whole numbers.
    """
    return _arrivals(key, outcome)


def winner(
    key: Tensor, start: Tensor, slowness: Tensor, delay: Tensor, best: Tensor, outcome: Tensor
) -> tuple[Tensor, Tensor]:
    """The first to arrive, at ``W delay_k + X_k slowness_k``, of some groups and of one that is known already.

    Parameters
    ----------
    key : Tensor
        Uniforms in (0, 1); (batch).
    start : Tensor
        The first group; (batch).
    slowness, delay : Tensor
        Of each outcome of the groups from ``start`` on; (batch, group, place).
    best, outcome : Tensor
        When the first so far arrives, and who it is; (batch).

    Returns
    -------
    best, outcome : Tensor
        (batch), the broadcast shape. One who is level with the first so far does not replace it.
    """
    return _winner(*(each.detach().to(torch.float64) for each in (key, start, slowness, delay, best, outcome)))


# -- numpy -------------------------------------------------------------------------------------------------------------


def _keys(uniform: Floats) -> Bits:
    bits = (uniform * 2.0**53).astype(np.uint64) * _GOLDEN
    mix(bits, np.empty_like(bits))
    return bits


def _exponential(bits: Bits) -> Floats:
    """Unit exponentials from the upper 52 bits of mixed counters."""
    found = (bits >> np.uint64(12)).astype(np.float64)
    found += 0.5
    found *= 2.0**-52
    np.log(found, out=found)
    return np.negative(found, out=found)


def _counted(start: Bits, count: NDArray[np.int64]) -> Bits:
    """Mixed counters."""
    bits = count.astype(np.uint64) * _GOLDEN + start
    mix(bits, np.empty_like(bits))
    return bits


def _firsts(key: Bits, group: NDArray[np.int64]) -> tuple[Floats, Bits]:
    """When the earliest of a group arrives, and mixed bits whose lowest are its place."""
    bits = _counted(key ^ _OF_GROUPS, group)
    first = _exponential(bits)
    first *= 1.0 / GROUP
    return first, bits


def _times(key: Bits, outcome: NDArray[np.int64], first: Floats, bits: Bits) -> Floats:
    """Arrival times of outcomes, given their groups'."""
    later = _exponential(_counted(key, outcome))
    later[(outcome & (GROUP - 1)).astype(np.uint64) == (bits & np.uint64(GROUP - 1))] = 0.0
    return first + later


def _shared_kernel(uniform: Floats) -> Floats:
    bits = _keys(uniform) ^ _OF_ALL
    mix(bits, np.empty_like(bits))
    return _exponential(bits)


def _arrivals_kernel(uniform: Floats, outcome: Floats) -> Floats:
    key, number = _keys(uniform), outcome.astype(np.int64)
    return _times(key, number, *_firsts(key, number // GROUP))


_shared = elementwise("shared_arrival", _shared_kernel, "key")
_arrivals = elementwise("arrivals", _arrivals_kernel, "key outcome")


@torch.library.custom_op("pcm::winner", mutates_args=())
def _winner(
    key: Tensor, start: Tensor, slowness: Tensor, delay: Tensor, best: Tensor, outcome: Tensor
) -> tuple[Tensor, Tensor]:
    rows, tables = (key, start, best, outcome), (slowness, delay)
    shape = _batch(rows, tables)
    groups = slowness.shape[-2]
    uniform, first, *ahead = (np.ascontiguousarray(np.broadcast_to(_numpy(each), shape)).reshape(-1) for each in rows)
    slow, late = (_numpy(each).reshape(each.shape[:-2].numel(), groups, GROUP) for each in tables)
    # which law each row races under: many rows may have one
    places = [
        np.broadcast_to(np.arange(each.shape[:-2].numel()).reshape(each.shape[:-2]), shape).reshape(-1)
        for each in tables
    ]
    least, soonest = slow.min(-1), late.min(-1)
    best_now, who = (each.copy() for each in ahead)
    with np.errstate(all="ignore"):
        keys, wait = _keys(uniform), _shared_kernel(uniform)
        step = max(1, _CHUNK // max(1, groups))
        for begin in range(0, len(keys), step):
            part = slice(begin, begin + step)
            block = _Block(keys[part], wait[part], first[part], *(each[part] for each in places))
            block.search(slow, late, least, soonest, best_now[part], who[part])
    return tuple(torch.from_numpy(each).reshape(shape).to(key.device) for each in (best_now, who))  # pyright: ignore


class _Block:
    """Rows whose bounds are held together."""

    def __init__(self, key: Bits, wait: Floats, start: Floats, slow: Any, late: Any) -> None:
        self.key, self.wait, self.start, self.slow, self.late = key, wait, start.astype(np.int64), slow, late

    def search(self, slow: Floats, late: Floats, least: Floats, soonest: Floats, best: Floats, outcome: Floats) -> None:
        """Look into group after group, the nearest bound first; ``best`` and ``outcome`` are overwritten."""
        first, bits = _firsts(self.key[:, None], self.start[:, None] + np.arange(slow.shape[1]))
        bound = first * least[self.slow]
        bound += self.wait[:, None] * soonest[self.late]
        bound[np.isnan(bound)] = np.inf  # nothing can be said of a law with a parameter that is NaN
        row = np.arange(len(bound))
        while row.size:
            group = bound[row].argmin(1)
            ahead = bound[row, group] < best[row]
            row, group = row[ahead], group[ahead]
            within = (self.start[row] + group)[:, None] * GROUP + np.arange(GROUP)
            there = first[row, group, None], bits[row, group, None]
            time = _times(self.key[row, None], within, *there) * slow[self.slow[row], group]
            time += self.wait[row, None] * late[self.late[row], group]
            place = time.argmin(1)
            nearest = time[np.arange(len(row)), place]
            better = nearest < best[row]
            best[row[better]] = nearest[better]
            outcome[row[better]] = within[np.arange(len(row)), place][better]
            bound[row, group] = np.inf


@_winner.register_fake
def _(*tensors: Tensor) -> tuple[Tensor, Tensor]:
    shape = _batch((tensors[0], tensors[1], *tensors[4:]), tensors[2:4])
    return tuple(torch.empty(shape, dtype=torch.float64, device=tensors[0].device) for _ in range(2))  # pyright: ignore


@_winner.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    events = (0, 0, 2, 2, 0, 0)
    ranks = [each.dim() - (at is not None) - event for each, at, event in zip(tensors, in_dims, events, strict=True)]
    lifted = []
    for each, at, rank in zip(tensors, in_dims, ranks, strict=True):
        if at is not None:  # the mapped dim goes first, the batch behind it to the same rank
            each = each.movedim(at, 0)
            each = each.reshape(each.shape[:1] + (1,) * (max(ranks) - rank) + each.shape[1:])
        lifted.append(each)
    return _winner(*lifted), (0, 0)


def _batch(rows: Sequence[Tensor], tables: Sequence[Tensor]) -> torch.Size:
    return torch.broadcast_shapes(*(each.shape for each in rows), *(each.shape[:-2] for each in tables))


def _numpy(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy()
