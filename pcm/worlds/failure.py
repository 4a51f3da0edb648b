"""What is said where a program itself breaks in a world: a value that ``do`` sets may lie outside a table it indexes.

>>> print(outside_a_table({"level": Constant(torch.tensor(5.0))}, "y", IndexError("index 5 is out of bounds")))
do(level=5): the program fails on the way to 'y' (IndexError: index 5 is out of bounds). Set a value that the program \
can compute with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from pcm.errors import InterventionError, PCMError, ProgramError
from pcm.worlds.intervention import Constant, Intervention, Target

__all__ = ["outside_a_table"]

# gather, scatter and one_hot raise plain RuntimeErrors
_OUTSIDE = re.compile(r"out of (bounds|range)|Class values must be")


def outside_a_table(
    interventions: Mapping[Target, Intervention], site: str | None, error: IndexError | RuntimeError
) -> PCMError | None:
    """The error to raise from the program's own: it names the interventions and the site that was not reached (None:
    all were).

    None for a ``RuntimeError`` that is about something else.
    """
    if isinstance(error, RuntimeError) and not _OUTSIDE.search(str(error)):
        return None
    where = f"on the way to '{site}'" if site is not None else "after its last site"
    failed = f"the program fails {where} ({type(error).__name__}: {error})."
    if not interventions:
        return ProgramError(failed[0].upper() + failed[1:], site=site)
    asked = ", ".join(_told(target, action) for target, action in interventions.items())
    advice = "Set a value that the program can compute with."
    return InterventionError(f"do({asked}): {failed} {advice}", site=site, targets=tuple(interventions))


def _told(target: Target, action: Intervention) -> str:
    name = " → ".join(target) if isinstance(target, tuple) else target
    if isinstance(action, Constant) and not action.value.dim():
        value = action.value
        if not torch._C._functorch.is_batchedtensor(value):  # type: ignore[attr-defined]
            return f"{name}={value.item():g}"
    return f"{name}=…"
