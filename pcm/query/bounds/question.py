"""What is asked: probabilities of events that may name several worlds, and their weighted sums.

An :class:`Atom` is "variable = value in the world do(…)". A :class:`Query` is the number

    Σ_t weight_t · E[value_t · 1(event_t)]  /  P(given),

each event a conjunction of atoms from any worlds: PNS is ``P(y[x=1] = 1, y[x=0] ≠ 1)``.

>>> Query.pns("x", "y")
Query(PNS of x on y)
>>> Query.pn("x", "y").given
(Atom(x=1), Atom(y=1))
>>> Query.ate("x", "y").terms[0].mean
Atom(y[x=1])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pcm.errors import ArgumentError

__all__ = ["Atom", "Query", "Term", "World"]

#: Interventions of a world: pairs of a target (a variable, or an edge ``(parent, child)``) and its value, which may be
#: the :class:`Atom` of that variable in another world.
World = tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, repr=False)
class Atom:
    """A variable's value in a world.

    Attributes
    ----------
    variable : str
    value : object
        The value it has (or does not have, where ``negated``); None where the atom stands for the variable itself.
    world : tuple of (target, value)
        What is set in that world; empty in the factual one.
    negated : bool
    """

    variable: str
    value: Any = None
    world: World = ()
    negated: bool = False

    def __str__(self) -> str:
        sets = ", ".join(f"{_target(target)}={value}" for target, value in self.world)
        name = f"{self.variable}[{sets}]" if sets else self.variable
        return name if self.value is None else f"{name}{'≠' if self.negated else '='}{self.value}"

    def __repr__(self) -> str:
        return f"Atom({self})"


@dataclass(frozen=True)
class Term:
    """``weight · E[mean · 1(event)]``; without ``mean`` the event's probability."""

    weight: float
    event: tuple[Atom, ...] = ()
    mean: Atom | None = None


@dataclass(frozen=True, repr=False)
class Query:
    """A causal question whose answer is one number; made by the functions below, or from a string by :func:`bounds`.

    Attributes
    ----------
    label : str
    terms : tuple of Term
    given : tuple of Atom
        What is conditioned on, in any worlds.

    Examples
    --------
    >>> Query.counterfactual({"y": 1}, {"x": 1}, given={"x": 0, "y": 0})
    Query(P(y[x=1]=1 | x=0, y=0))
    """

    label: str
    terms: tuple[Term, ...]
    given: tuple[Atom, ...] = ()

    def __repr__(self) -> str:
        return f"Query({self.label})"

    # -- averages ------------------------------------------------------------------------------------------------

    @classmethod
    def ate(cls, treatment: str, outcome: str, *, treated: Any = 1, control: Any = 0) -> Query:
        """Average effect ``E[Y_treated] − E[Y_control]``."""
        return cls(f"ATE of {treatment} on {outcome}", _contrast(treatment, outcome, treated, control))

    @classmethod
    def att(cls, treatment: str, outcome: str, *, treated: Any = 1, control: Any = 0) -> Query:
        """Average effect on the treated, ``E[Y_treated − Y_control | treatment = treated]``."""
        terms = _contrast(treatment, outcome, treated, control, (Atom(treatment, treated),))
        return cls(f"ATT of {treatment} on {outcome}", terms, (Atom(treatment, treated),))

    @classmethod
    def nde(
        cls, treatment: str, outcome: str, *, treated: Any = 1, control: Any = 0, mediators: Iterable[str] | None = None
    ) -> Query:
        """Natural direct effect ``E[Y_{1, M_0}] − E[Y_0]``; by default only treatment → outcome changes."""
        if mediators is None:
            direct = (*_world({treatment: control}), ((treatment, outcome), treated))
        else:
            direct = _crossed(treatment, treated, control, mediators)
        control_world = _world({treatment: control})
        terms = (Term(1.0, mean=Atom(outcome, world=direct)), Term(-1.0, mean=Atom(outcome, world=control_world)))
        return cls(f"NDE of {treatment} on {outcome}", terms)

    @classmethod
    def nie(
        cls, treatment: str, outcome: str, *, treated: Any = 1, control: Any = 0, mediators: Iterable[str] | None = None
    ) -> Query:
        """Natural indirect effect ``E[Y_{0, M_1}] − E[Y_0]``; by default all but treatment → outcome changes."""
        if mediators is None:
            indirect = (*_world({treatment: treated}), ((treatment, outcome), control))
        else:
            indirect = _crossed(treatment, control, treated, mediators)
        control_world = _world({treatment: control})
        terms = (Term(1.0, mean=Atom(outcome, world=indirect)), Term(-1.0, mean=Atom(outcome, world=control_world)))
        return cls(f"NIE of {treatment} on {outcome}", terms)

    @classmethod
    def path_effect(
        cls, treatment: str, outcome: str, *, paths: Iterable[Any], treated: Any = 1, control: Any = 0
    ) -> Query:
        """Effect along these directed paths alone; along all others the treatment keeps its control value.

        A variable on a path reads, along the paths' edges, what the treated treatment makes of its parents, and all
        else as it is in the control world.

        Examples
        --------
        >>> Query.path_effect("t", "y", paths=["t -> w -> y"])
        Query(effect of t on y along t → w → y)
        """
        if isinstance(paths, str) or not isinstance(paths, Iterable):
            raise ArgumentError(f"paths= is a list such as ['{treatment} -> … -> {outcome}']; found {paths!r}.")
        walks = [_walk(path, treatment, outcome) for path in paths]
        edges = list(dict.fromkeys(edge for walk in walks for edge in pairwise(walk)))
        made = set(_walks(edges, treatment, outcome))
        label = f"effect of {treatment} on {outcome} along {'; '.join(' → '.join(walk) for walk in walks)}"
        extra = sorted(made - set(walks))
        if extra or not walks:
            raise ArgumentError(
                f"{label}: the edges also make up {' → '.join(extra[0])}; add that path, or ask for fewer."
                if extra
                else f"paths=[]: give at least one path '{treatment} -> … -> {outcome}'."
            )
        base = _world({treatment: control})

        def along(name: str) -> Atom:
            read = [(p, treated if p == treatment else along(p)) for p, child in edges if child == name]
            return Atom(name, world=(*base, *(((parent, name), value) for parent, value in read)))

        return cls(label, (Term(1.0, mean=along(outcome)), Term(-1.0, mean=Atom(outcome, world=base))))

    # -- probabilities -------------------------------------------------------------------------------------------

    @classmethod
    def interventional(
        cls, outcome: Mapping[str, Any], do: Mapping[Any, Any], given: Mapping[str, Any] | None = None
    ) -> Query:
        """``P(outcome | do, given)``; ``given`` is read in the intervened world, as in do-calculus."""
        world = _world(do)
        event, condition = _atoms(outcome, world, "outcome"), _atoms(given or {}, world, "given")
        right = ", ".join([*(f"do({atom})" for atom in _atoms(do, (), "do")), *map(str, _atoms(given or {}, (), ""))])
        label = f"P({', '.join(map(str, _atoms(outcome, (), 'outcome')))} | {right})"
        return cls(label, (Term(1.0, (*event, *condition)),), condition)

    @classmethod
    def counterfactual(
        cls, outcome: Mapping[str, Any], do: Mapping[Any, Any], given: Mapping[str, Any] | None = None
    ) -> Query:
        """``P(outcome in the world do | given in the factual one)``: a unit's own evidence, another world."""
        return cls.of(_atoms(outcome, _world(do), "outcome"), _atoms(given or {}, (), "given"))

    @classmethod
    def of(cls, event: tuple[Atom, ...], given: tuple[Atom, ...] = (), label: str | None = None) -> Query:
        """``P(event | given)`` of any conjunctions of atoms."""
        words = ", ".join(map(str, event)) + (f" | {', '.join(map(str, given))}" if given else "")
        return cls(label or f"P({words})", (Term(1.0, (*event, *given)),), given)

    @classmethod
    def pns(cls, treatment: str, outcome: str, *, treated: Any = 1, control: Any = 0, positive: Any = 1) -> Query:
        """Probability of necessity and sufficiency, ``P(Y_treated = positive, Y_control ≠ positive)``."""
        with_, without = _world({treatment: treated}), _world({treatment: control})
        event = (Atom(outcome, positive, with_), Atom(outcome, positive, without, negated=True))
        return cls.of(event, label=f"PNS of {treatment} on {outcome}")

    @classmethod
    def pn(cls, treatment: str, outcome: str, *, treated: Any = 1, control: Any = 0, positive: Any = 1) -> Query:
        """Probability of necessity, ``P(Y_control ≠ positive | treatment = treated, Y = positive)``."""
        event = (Atom(outcome, positive, _world({treatment: control}), negated=True),)
        given = (Atom(treatment, treated), Atom(outcome, positive))
        return cls.of(event, given, f"PN of {treatment} on {outcome}")

    @classmethod
    def ps(cls, treatment: str, outcome: str, *, treated: Any = 1, control: Any = 0, positive: Any = 1) -> Query:
        """Probability of sufficiency, ``P(Y_treated = positive | treatment = control, Y ≠ positive)``."""
        event = (Atom(outcome, positive, _world({treatment: treated})),)
        given = (Atom(treatment, control), Atom(outcome, positive, negated=True))
        return cls.of(event, given, f"PS of {treatment} on {outcome}")


# -- private ---------------------------------------------------------------------------------------------------------


def _contrast(
    treatment: str, outcome: str, treated: Any, control: Any, event: tuple[Atom, ...] = ()
) -> tuple[Term, ...]:
    return (
        Term(1.0, event, Atom(outcome, world=_world({treatment: treated}))),
        Term(-1.0, event, Atom(outcome, world=_world({treatment: control}))),
    )


def _crossed(treatment: str, own: Any, other: Any, mediators: Iterable[str]) -> World:
    """The world with the treatment at its own value and the mediators as they are at the other one."""
    names = [mediators] if isinstance(mediators, str) else mediators
    elsewhere = _world({treatment: other})
    return (*_world({treatment: own}), *((name, Atom(name, world=elsewhere)) for name in names))


def _walk(path: Any, treatment: str, outcome: str) -> tuple[str, ...]:
    parts = path.replace("→", "->").split("->") if isinstance(path, str) else path
    walk = tuple(part.strip() for part in parts)
    if len(walk) < 2 or walk[0] != treatment or walk[-1] != outcome or len(set(walk)) < len(walk):
        raise ArgumentError(f"the path {' → '.join(walk)} does not lead from '{treatment}' to '{outcome}'.")
    return walk


def _walks(edges: list[tuple[str, str]], start: str, end: str) -> Iterator[tuple[str, ...]]:
    """All walks along these edges; they are of directed paths that end in one variable."""
    if start == end:
        yield (end,)
        return
    for parent, child in edges:
        if parent == start:
            yield from ((start, *rest) for rest in _walks(edges, child, end))


def _world(do: Mapping[Any, Any]) -> World:
    if not isinstance(do, Mapping):
        raise ArgumentError(f"do={do!r}: a dict of what is set is needed, such as {{'x': 1}}.")
    return tuple(do.items())


def _atoms(values: Mapping[Any, Any], world: World, what: str) -> tuple[Atom, ...]:
    if not isinstance(values, Mapping) or (what == "outcome" and not values):
        raise ArgumentError(f"{what}={values!r}: a dict of values is needed, such as {{'y': 1}}.")
    return tuple(Atom(name, value, world) for name, value in values.items())


def _target(target: Any) -> str:
    return " -> ".join(map(str, target)) if isinstance(target, tuple) else str(target)
