"""One function over many lanes: parameter draws, noise draws, assignments of discrete sites.

The program never sees the lanes: a handler run is mapped over them by ``torch.func.vmap``, in chunks that stay in the
cache; where a program cannot be mapped (Python control flow on a parameter), lane by lane.

>>> import torch
>>> out, looped = over_lanes(lambda lane: {"y": 2 * lane["x"]}, lambda part: {"x": torch.arange(5.0)[part]}, 5, size=1)
>>> out["y"], looped
(tensor([0., 2., 4., 6., 8.]), False)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from pcm.errors import PCMError

__all__ = ["CHUNK", "GRAIN", "SMALL", "lane_count", "over_lanes", "settle_allocator", "sum_within"]

#: Elements (lanes × values a lane) in one chunk: 2.5 MB a tensor in float64.
CHUNK = 320_000

#: Chunks smaller than usual, and blocks of units, are multiples of this, so that vectorised loops split them as they
#: split the whole.
GRAIN = 64

#: Elements of a tensor up to which the C library keeps its memory when it is freed.
SMALL = 2**14

_settled = False


def lane_count(parameters: Mapping[str, Tensor]) -> int:
    """How many draws of the parameters there are; without parameters one.

    >>> lane_count({"slope": torch.zeros(3, 2)}), lane_count({})
    (3, 1)
    """
    return len(next(iter(parameters.values()))) if parameters else 1


def over_lanes(
    function: Callable[[Any], dict[str, Tensor]],
    inputs: Callable[[slice], Any],
    lanes: int,
    *,
    size: int,
    room: int | None = None,
    reduce: Callable[[dict[str, Tensor], slice], None] | None = None,
) -> tuple[dict[str, Tensor], bool]:
    """Outputs of ``function`` stacked over lanes, and whether it had to run lane by lane.

    Parameters
    ----------
    function : callable
        One lane's inputs to a dict of tensors.
    inputs : callable
        A slice of lanes to their inputs, a nest of tensors with the lane as first dim.
    lanes : int
    size : int
        Values a lane (to choose the chunk).
    room : int, optional
        Lanes × values that a chunk may have at most, if that is less than usual.
    reduce : callable, optional
        Takes each chunk's outputs and its slice; then nothing is stacked.
    """
    chunk = max(1, min(lanes, CHUNK // max(size, 1)))
    if room is not None and room < chunk * size:
        grain = GRAIN // math.gcd(size, GRAIN)
        chunk = min(chunk, max(1, room // size // grain) * grain)
    if chunk * size > SMALL:
        settle_allocator()
    mapped: Callable[[Any], dict[str, Tensor]] = torch.func.vmap(function)
    looped = False
    out: dict[str, Tensor] = {}
    for start in range(0, lanes, chunk):
        part = slice(start, min(start + chunk, lanes))
        given = inputs(part)
        if not looped:
            try:
                with warnings.catch_warnings():  # torch maps what it has no rule for by a loop of its own, and says so
                    warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
                    made = mapped(given)
            except PCMError as error:
                if not isinstance(error.__cause__, RuntimeError | TypeError):
                    raise
                looped = True  # a function of the user's that cannot be mapped; a real failure fails again
            except (RuntimeError, TypeError, ValueError, NotImplementedError):
                looped = True
        if looped:
            made = _loop(function, given, part.stop - part.start)
        if reduce is not None:
            reduce(made, part)
            continue
        for name, value in made.items():
            if start == 0:
                out[name] = value if part.stop == lanes else value.new_empty((lanes, *value.shape[1:]))
            if part.stop - part.start < lanes:
                out[name][part] = value
    return out, looped


def sum_within(
    function: Callable[[dict[str, Tensor]], dict[str, Tensor]], counts: Mapping[str, int]
) -> dict[str, Tensor]:
    """Sum of ``function(codes)`` over every assignment of codes to names.

    Each name is a level of its own to be mapped over, so that what depends on some of them is computed once for all
    assignments of the others.

    Examples
    --------
    >>> sum_within(lambda codes: {"sum": codes["a"] * codes["b"]}, {"a": 3, "b": 4})["sum"]
    tensor(18)
    """
    if not counts:
        return function({})
    name, *rest = counts

    def level(code: Tensor) -> dict[str, Tensor]:
        return sum_within(lambda codes: function({name: code, **codes}), {n: counts[n] for n in rest})

    found = torch.func.vmap(level)(torch.arange(counts[name]))
    return {key: value.sum(0) for key, value in found.items()}


def settle_allocator() -> None:
    """Let the C library keep freed buffers of up to 32 MB: by default it returns them, and page faults cost as much
    as the arithmetic. Freeing one large block once raises its threshold for the rest of the process."""
    global _settled
    if not _settled:
        torch.empty(32 * 2**20 - 2**16, dtype=torch.uint8)
        _settled = True


def _loop(function: Callable[[Any], dict[str, Tensor]], given: Any, lanes: int) -> dict[str, Tensor]:
    rows = [function(pytree.tree_map(lambda tensor, lane=lane: tensor[lane], given)) for lane in range(lanes)]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
