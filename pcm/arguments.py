"""Plain arguments, checked where they enter: counts, probabilities, seeds, positive numbers, lists of names.

Each check returns the value as the plain type that it stands for, or raises an error with the argument's name, what
was found and what is needed.

>>> check_count("7", "draws")
Traceback (most recent call last):
    ...
pcm.errors.ArgumentError: draws='7': a positive whole number is needed.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from pcm.errors import ArgumentError, UnknownNameError

__all__ = ["check_count", "check_names", "check_positive", "check_probability", "check_seed", "no_model"]


def check_count(value: Any, name: str, *, bytes_each: int = 8) -> int:
    """A positive whole number; one whose numbers, ``bytes_each`` each, no memory here holds is refused too.

    >>> check_count(10**15, "units")
    Traceback (most recent call last):
        ...
    pcm.errors.ArgumentError: units=1000000000000000 would hold ... GB at once, and this machine has ...
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name}={value!r}: a positive whole number is needed.")
    count, memory = int(value), _memory()
    if count * bytes_each > memory:
        raise ArgumentError(
            f"{name}={count} would hold {count * bytes_each / 1e9:.4g} GB at once, and this machine has "
            f"{memory / 1e9:.3g}: ask for fewer."
        )
    return count


def check_positive(value: Any, name: str, *, zero: bool = False) -> float:
    """A finite number above 0; or 0, where that is an answer too.

    >>> check_positive(0.5, "rho")
    0.5
    >>> check_positive(-1.0, "epsilon", zero=True)
    Traceback (most recent call last):
        ...
    pcm.errors.ArgumentError: epsilon=-1.0: a positive, finite number or 0 is needed.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.integer | np.floating)
        or not (0 < value <= sys.float_info.max or (zero and value == 0))
    ):
        raise ArgumentError(f"{name}={value!r}: a positive, finite number {'or 0 ' if zero else ''}is needed.")
    return float(value)


def check_probability(value: Any, what: str = "an interval's probability") -> float:
    """A number strictly between 0 and 1.

    >>> check_probability(0.9)
    0.9
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < 1:
        raise ArgumentError(f"{what} is a number between 0 and 1; found {value!r}.")
    return float(value)


def check_seed(value: Any, *, optional: bool = False) -> int:
    """A whole number from 0 that 63 bits hold; None (as 0) where that is an answer too.

    >>> check_seed(3)
    3
    """
    if value is None and optional:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**63:
        none = " (or None)" if optional else ""
        raise ArgumentError(f"seed={value!r}: a whole number from 0 to 2**63 - 1{none} is needed.")
    return int(value)


def check_names(
    value: Any, name: str, known: Iterable[Any], *, kind: str = "variable", where: str = "the program"
) -> tuple[str, ...]:
    """Names in a list, each one that is known.

    >>> check_names(["ag"], "hidden", ["age", "labs"])
    Traceback (most recent call last):
        ...
    pcm.errors.UnknownNameError: 'ag' is not a variable of the program; variables: age, labs. Did you mean 'age'?
    """
    if isinstance(value, str) or not isinstance(value, Collection):
        raise ArgumentError(f"{name}={value!r}: a list of names is needed.")
    known = list(known)
    for each in value:
        if each not in known:
            raise UnknownNameError(each, kind=kind, known=known, where=where)
    return tuple(value)


def no_model(value: Any, needed: str = "a pcm.SCM") -> ArgumentError:
    """The error of whoever was given something else than a model.

    >>> def clinic(): ...
    >>> print(no_model(clinic))
    a pcm.SCM is needed; found the function 'clinic'. Wrap the program: pcm.SCM(clinic).
    """
    found, advice = f"a {type(value).__name__}", "One is made of a Pyro program: pcm.SCM(program)."
    if value is None or isinstance(value, str):
        found = repr(value)
    elif isinstance(value, type):
        found = f"the class {value.__name__}"
    elif hasattr(value, "add_edge"):
        advice = "A graph has no equations; a Pyro program does: pcm.SCM(program)."
    elif getattr(value, "scm", None) is not None:
        advice = "It holds one: its attribute .scm."
    elif callable(value):
        name = getattr(value, "__name__", "")
        found = f"the function '{name}'" if name else found
        advice = f"Wrap the program: pcm.SCM({name if name.isidentifier() else 'program'})."
    return ArgumentError(f"{needed} is needed; found {found}. {advice}")


def _memory() -> float:
    """Bytes of this machine; infinite where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return math.inf
