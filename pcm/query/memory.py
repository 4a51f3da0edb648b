"""How much a query may hold: the limit that a user sets, and a store of intermediate results that keeps to it.

>>> read_limit("2 GB"), read_limit("512MiB"), in_words(80_000_000)
(2000000000, 536870912, '80 MB')
"""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from torch import Tensor

from pcm.errors import ArgumentError

__all__ = ["Store", "check_fits", "in_words", "read_limit"]

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_UNITS["tib"] = 2**40


class Store:
    """Intermediate results by key; with a limit the least recently used ones are dropped, to be computed again.

    Parameters
    ----------
    limit : int or None
        Bytes; None keeps everything.

    Examples
    --------
    >>> import torch
    >>> store = Store(limit=16)
    >>> for key in "abc":
    ...     store[key] = torch.zeros(1, dtype=torch.float64)
    >>> [key for key in "abc" if key in store]
    ['b', 'c']
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._held: OrderedDict[Hashable, Any] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def __getitem__(self, key: Hashable) -> Any:
        self._held.move_to_end(key)
        return self._held[key]

    def __setitem__(self, key: Hashable, value: Any) -> None:
        if self.limit is None:
            self._held[key] = value
            return
        if key in self._held:
            self._bytes -= _size(self._held.pop(key))
        if _size(value) > self.limit:
            return
        self._held[key] = value
        self._bytes += _size(value)
        while self._bytes > self.limit:
            self._bytes -= _size(self._held.popitem(last=False)[1])


def read_limit(limit: Any) -> int | None:
    """Bytes of a limit given as a number of them or as text with a unit; None where there is none."""
    if limit is None:
        return None
    if isinstance(limit, str):
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", limit)
        if found is not None and found[2].lower() in _UNITS and float(found[1]) > 0:
            return int(float(found[1]) * _UNITS[found[2].lower()])
    elif isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
        return limit
    raise ArgumentError(f"memory_limit={limit!r}: a number of bytes or a text such as '2GB' or '512MiB' is needed.")


def check_fits(numbers: int, limit: int | None, what: str, hint: str) -> int:
    """Bytes of that many float64 numbers; an error that names the sizes where they are above the limit.

    Examples
    --------
    >>> check_fits(10**6, None, "an array", "Take less.")
    8000000
    """
    size = 8 * numbers
    if limit is not None and size > limit:
        raise ArgumentError(
            f"the result alone is {what}: {in_words(size)}, above memory_limit={in_words(limit)}. {hint}",
            needed=size,
            limit=limit,
        )
    return size


def in_words(size: int) -> str:
    """Bytes for a message."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def _size(value: Any) -> int:
    """Bytes behind a result: a tensor that is a view counts what it keeps alive."""
    if isinstance(value, Tensor):
        return value.untyped_storage().nbytes()
    if dataclasses.is_dataclass(value):
        return sum(_size(getattr(value, part.name)) for part in dataclasses.fields(value))
    return 0
