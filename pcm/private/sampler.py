"""The two libraries that private noise rests on, imported when they are first needed: OpenDP and dp-accounting.

Real data are noised by OpenDP's samplers alone: they draw exact discrete laws from the system's own randomness, where
torch and numpy draw floating-point numbers that give the secret away. OpenDP builds its measurements only while its
feature "contrib" is on; it is switched on for the building and put back as it was.

>>> from opendp.mod import GLOBAL_FEATURES
>>> with opendp() as dp:
...     bit = dp.m.make_randomized_response_bool(0.75)
>>> round(bit.map(1), 6), "contrib" in GLOBAL_FEATURES
(1.098612, False)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from pcm.errors import MissingExtraError

__all__ = ["accounting", "opendp", "repeated"]

_FEATURE = "contrib"
_TOGETHER = 1_000
_SWITCH = threading.RLock()


@contextmanager
def opendp() -> Iterator[Any]:
    """OpenDP's prelude, able to build measurements inside the context.

    Raises
    ------
    MissingExtraError
        Where OpenDP is not installed.
    """
    try:
        prelude = import_module("opendp.prelude")
        features = import_module("opendp.mod").GLOBAL_FEATURES
    except ModuleNotFoundError:
        raise MissingExtraError("opendp", "private", "A real release") from None
    with _SWITCH:  # one thread must not switch it off while another builds
        added = _FEATURE not in features
        features.add(_FEATURE)
        try:
            yield prelude
        finally:
            if added:
                features.discard(_FEATURE)


def repeated(measurement: Any, codes: np.ndarray, given: Callable[[int], Any]) -> np.ndarray:
    """One independent answer a row ``[row]`` of a measurement of one row, whose input is ``given(code)``.

    Equal rows are answered together, by OpenDP's composition of the measurement with itself at one input: the same
    draws without a call each.
    """
    answers = np.empty(len(codes), dtype=np.int64)
    with opendp() as dp:
        made: dict[int, Any] = {}
        for code in np.unique(codes).tolist():
            rows = np.flatnonzero(codes == code)
            for start in range(0, len(rows), _TOGETHER):
                chunk = rows[start : start + _TOGETHER]
                if len(chunk) not in made:
                    made[len(chunk)] = dp.c.make_composition([measurement] * len(chunk))
                answers[chunk] = made[len(chunk)](given(code))
    return answers


def accounting(module: str = "dp_event") -> Any:
    """A module of dp-accounting, by its name inside the package.

    Raises
    ------
    MissingExtraError
        Where dp-accounting is not installed.
    """
    try:
        return import_module(f"dp_accounting.{module}")
    except ModuleNotFoundError:
        raise MissingExtraError("dp-accounting", "private", "Privacy accounting") from None
