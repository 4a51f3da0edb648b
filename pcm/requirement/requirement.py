"""A requirement of invariance: how a prediction may respond to a change of something.

``(source s, outcome Y, admissible paths adm ⊆ directed paths s ⇝ Y, reference law, tolerance)`` pins the response of a
prediction to ``s``: as ``Y`` responds along ``adm``, and not otherwise. ``adm = none`` is uniform invariance
(counterfactual fairness where ``s`` is protected); fairness, robustness, attribute privacy and explainability differ in
what ``s`` is (Binkyte et al. 2026).

>>> fair = Requirement("age", outcome="readmit", admissible=["age -> labs -> readmit"])
>>> fair
Requirement('age', outcome='readmit', admissible=['age -> labs -> readmit'])
>>> fair == eval(repr(fair))
True
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from numbers import Real
from typing import Any

import networkx as nx
import numpy as np

from pcm.errors import ArgumentError, GraphError, UnknownNameError, listed
from pcm.graph import SVG, CausalGraph, ancestors, descendants
from pcm.requirement.admissible import Admissible
from pcm.requirement.on_graph import admitted, check_paths

__all__ = ["Requirement", "TrainingRows", "check_tolerance"]

_ROLES = ("variable", "environment", "mechanisms", "rows")


@dataclass(frozen=True)
class TrainingRows:
    """The rows of the training data as a source: what one of them may change of the fit (privacy of inclusion).

    Attributes
    ----------
    epsilon, delta : float
        ``P(fit ∈ S | rows) ≤ e^ε P(fit ∈ S | rows with one replaced) + δ`` for every set ``S``.

    Examples
    --------
    >>> TrainingRows(1.0)
    TrainingRows(epsilon=1.0, delta=0.0)
    """

    epsilon: float
    delta: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.epsilon, bool) or not isinstance(self.epsilon, int | float) or not self.epsilon > 0:
            raise ArgumentError(f"TrainingRows(epsilon={self.epsilon!r}): a positive number is needed.")
        if isinstance(self.delta, bool) or not isinstance(self.delta, int | float) or not 0 <= self.delta < 1:
            raise ArgumentError(f"TrainingRows(delta={self.delta!r}): a number in [0, 1) is needed.")


class Requirement:
    """A requirement of invariance.

    Parameters
    ----------
    source : str, collection of str, or TrainingRows
        What may change: a variable (a protected attribute, an environment, a private attribute); several names are
        mechanisms that may be replaced, each then set from outside; or the rows of the training data.
    outcome : str, optional
        What is predicted; only training rows go without.
    admissible : "all", "none", or list of paths and edges
        Along which directed paths the prediction may respond. ``*`` is one variable, ``...`` any number, also none; a
        pair of names is an edge, and paths of listed edges alone are admitted. An empty list is ``"none"``.
    reference : "independent", number, label, distribution, or dict of source to one of them
        What an inadmissible edge is fed: by default an independent draw from the source's own marginal.
    tolerance : float
        The largest difference in effect (per unit of the source; on the probability scale for a binary outcome)
        between prediction and pinned response that still counts as none.
    role : {"variable", "environment", "mechanisms", "rows"}, optional
        What the source is, for words alone; follows from ``source``.

    Raises
    ------
    ArgumentError
        What is no path, a path with other ends, a bad tolerance, an outcome among the sources.

    References
    ----------
    Binkyte et al., "Trustworthy AI suffers from invariance conflicts and causality is the solution", arXiv 2605.02640.
    Chiappa, "Path-specific counterfactual fairness", AAAI 2019.

    Examples
    --------
    >>> import pcm
    >>> pcm.Requirement("age", outcome="readmit", admissible=[]) == pcm.Requirement("age", outcome="readmit")
    True
    """

    def __init__(
        self,
        source: str | Collection[str] | TrainingRows,
        *,
        outcome: str | None = None,
        admissible: Any = "none",
        reference: Any = "independent",
        tolerance: float = 0.0,
        role: str | None = None,
    ) -> None:
        self.source: Any = source
        if isinstance(source, TrainingRows):
            if admissible not in ("none", [], ()):
                raise ArgumentError("training rows have no path that may carry their change: admissible='none'.")
            names: tuple[str, ...] = ()
            natural = "rows"
        elif isinstance(source, str):
            names, natural = (source,), "variable"
        elif isinstance(source, Collection) and source and all(isinstance(name, str) for name in source):
            names = tuple(sorted(source) if isinstance(source, set | frozenset) else dict.fromkeys(source))
            natural = "mechanisms"
            self.source = names
        else:
            raise ArgumentError(
                f"source={source!r}: a variable's name, a collection of them (mechanisms that may change), or "
                "pcm.TrainingRows(epsilon) is needed."
            )
        if (outcome is None and names) or (outcome is not None and not isinstance(outcome, str)):
            raise ArgumentError(f"outcome={outcome!r}: the name of what is predicted is needed.")
        if outcome in names:
            raise ArgumentError(f"'{outcome}' is both source and outcome; a requirement is on another variable.")
        check_tolerance(tolerance)
        if role is not None and role not in _ROLES:
            raise ArgumentError(f"role={role!r} is none of {listed(_ROLES)}.")
        self.variables: tuple[str, ...] = names
        self.outcome = outcome
        self.admissible = Admissible.read(admissible, names, outcome or "") if names else Admissible()
        self.references = _references(reference, names)
        self.tolerance, self.role = float(tolerance), role or natural
        self._natural = natural

    # -- against a graph ---------------------------------------------------------------------------------------------

    def check(self, graph: nx.DiGraph) -> None:
        """Raise unless the requirement can be asked of a model with this graph.

        Raises
        ------
        UnknownNameError
            A source, an outcome or a variable of a path that is not in the graph.
        GraphError
            A source downstream of the outcome, a path or edge that is not in the graph; the nearest are suggested.
        """
        for name in (*self.variables, *([] if self.outcome is None else [self.outcome])):
            if name not in graph:
                raise UnknownNameError(name, known=list(graph))
        if self.outcome is None:
            return
        below = descendants(graph, self.outcome)
        for name in self.variables:
            if name in below:
                raise GraphError(
                    f"the source '{name}' is downstream of the outcome '{self.outcome}': no change of it reaches "
                    f"{self.outcome}. Sources of {self.outcome} are {listed(_in_order(graph, self.outcome))}.",
                    source=name,
                    outcome=self.outcome,
                )
        check_paths(graph, self.admissible, self.variables, self.outcome)

    def paths(self, graph: nx.DiGraph, limit: int = 1_000) -> list[tuple[str, ...]]:
        """The admissible paths in a graph, the shortest first (at most ``limit``).

        Examples
        --------
        >>> import networkx as nx
        >>> graph = nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")])
        >>> Requirement("a", outcome="c", admissible="a -> * -> c").paths(graph)
        [('a', 'b', 'c')]
        """
        self.check(graph)
        if self.outcome is None:
            return []
        found = (p for name in self.variables for p in admitted(graph, self.admissible, name, self.outcome))
        return sorted(islice(found, limit), key=len)

    def draw(self, graph: nx.DiGraph, **options: Any) -> SVG:
        """The graph with admissible edges green, inadmissible ones red, and those that are both amber.

        An edge is coloured by the paths from the source to the outcome that go through it; a path state decides, so
        one edge may carry an admissible path and an inadmissible one.

        Examples
        --------
        >>> import networkx as nx
        >>> picture = Requirement("a", outcome="b").draw(nx.DiGraph([("a", "b")]))
        >>> picture[:4]
        '<svg'
        """
        from pcm.requirement.picture import draw

        return draw(graph, [self], **options)

    def on(self, graph: nx.DiGraph) -> RequirementOnGraph:
        """The requirement with a graph; it draws itself in a notebook."""
        return RequirementOnGraph(self, graph)

    # -- plumbing ----------------------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """Short words: the source and what is admitted."""
        if isinstance(self.source, TrainingRows):
            return f"one training row, ε = {self.source.epsilon:g}"
        kept = self.admissible.written
        if isinstance(kept, list):
            kept = ", ".join(item.replace("->", "→") if isinstance(item, str) else " → ".join(item) for item in kept)
        return f"{', '.join(self.variables)}: {kept}"

    def _key(self) -> tuple[Any, ...]:
        kept = self.admissible
        source = self.source if isinstance(self.source, TrainingRows) else frozenset(self.variables)
        return (
            source,
            self.outcome,
            kept.everything,
            frozenset(kept.patterns),
            frozenset(kept.edges),
            tuple(sorted((name, repr(value)) for name, value in self.references.items())),
            self.tolerance,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Requirement) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        parts = [repr(self.source)]
        if self.outcome is not None:
            parts += [f"outcome={self.outcome!r}", f"admissible={self.admissible.written!r}"]
        if self.references:
            plain = set(self.references) == {*self.variables} and len({repr(v) for v in self.references.values()}) == 1
            parts.append(f"reference={next(iter(self.references.values())) if plain else self.references!r}")
        if self.tolerance:
            short = f"{self.tolerance:g}"
            parts.append(f"tolerance={short if float(short) == self.tolerance else repr(self.tolerance)}")
        if self.role != self._natural:
            parts.append(f"role={self.role!r}")
        return f"Requirement({', '.join(parts)})"


@dataclass(frozen=True)
class RequirementOnGraph:
    """A requirement and the graph that it is asked of: what a notebook draws."""

    requirement: Requirement
    graph: nx.DiGraph

    def _repr_svg_(self) -> str:
        return str(self.requirement.draw(self.graph))

    def __repr__(self) -> str:
        return f"{self.requirement!r} on {CausalGraph(self.graph)!r}"


def check_tolerance(tolerance: Any) -> None:
    """Raise unless this is a finite number, not negative."""
    number = isinstance(tolerance, int | float | np.integer | np.floating) and not isinstance(tolerance, bool)
    if not number or not 0 <= tolerance < float("inf"):
        raise ArgumentError(f"tolerance={tolerance!r}: a number that is not negative is needed.")


# -- private ---------------------------------------------------------------------------------------------------------


def _references(given: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """References other than independent draws, by source."""
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise UnknownNameError(name, kind="source", known=names, where="the requirement")
        return {name: _plain(value) for name, value in given.items() if not _independent(value)}
    return {} if _independent(given) else dict.fromkeys(names, _plain(given))


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's, which show and compare as what they are."""
    return value.item() if isinstance(value, np.generic) else value


def _independent(value: Any) -> bool:
    if isinstance(value, str) and value == "independent":
        return True
    number = isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    if not (number or isinstance(value, str) or hasattr(value, "log_prob")):
        raise ArgumentError(
            f"reference={value!r}: 'independent' (a draw from the source's marginal), a finite number, a category's "
            "label or a distribution."
        )
    return False


def _in_order(graph: nx.DiGraph, outcome: str) -> list[str]:
    above = ancestors(graph, outcome)
    return [name for name in graph if name in above]
