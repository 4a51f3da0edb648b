"""What a counterfactual is asked for: worlds by name, and the variables that are wanted in them.

>>> from pcm.query.named_worlds import FACTUAL
>>> FACTUAL
'factual'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pcm.errors import ArgumentError, InterventionError, UnknownNameError
from pcm.query.model import Model
from pcm.worlds import Target

__all__ = ["FACTUAL", "read_outcome", "read_worlds"]

FACTUAL = "factual"


def read_worlds(
    model: Model, do: Mapping[Any, Any] | None, worlds: Mapping[str, Mapping[Any, Any]] | None
) -> dict[str, dict[Target, Any]]:
    """Named worlds from what a user wrote; ``do=`` names its world ``"do"``."""
    if (do is None) == (worlds is None):
        found = "both" if do is not None else "neither"
        raise ArgumentError(
            f"a counterfactual takes do={{…}} or worlds={{name: {{…}}}}, one of the two; found {found}."
        )
    if worlds is not None and not isinstance(worlds, Mapping):
        raise ArgumentError(f"worlds= is a dict of name to interventions; found {type(worlds).__name__}.")
    named: dict[str, dict[Target, Any]] = {}
    for world, given in ({"do": do} if worlds is None else worlds).items():
        if given is not None and not isinstance(given, Mapping):
            raise ArgumentError(f"world '{world}' is a dict of variable to value; found {type(given).__name__}.")
        if world == FACTUAL:
            raise ArgumentError("a world cannot be named 'factual': that is the observed one, and always there.")
        if not isinstance(world, str) or not world:
            raise ArgumentError(f"a world's name is a string of one letter at least; found {world!r}.")
        if not given:
            raise InterventionError(f"world '{world}' sets nothing; drop it ('factual' is always there).")
        made = model.do(given).interventions
        named[world] = {target: action for target, action in made.items() if target in given}
    if not named:
        raise ArgumentError("worlds= is empty; name at least one world.")
    return named


def read_outcome(model: Model, outcome: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The variables to be asked for, in program order; None for all."""
    if outcome is None:
        return None
    names = [outcome] if isinstance(outcome, str) else outcome
    if isinstance(names, Mapping) or not hasattr(names, "__iter__") or not list(names):
        raise ArgumentError(f"outcome= is a variable or a list of variables; found {outcome!r}.")
    for name in names:
        if name not in model.structure.sites:
            raise UnknownNameError(name, known=list(model.structure.variables))
    return tuple(name for name in model.structure.variables if name in names)
