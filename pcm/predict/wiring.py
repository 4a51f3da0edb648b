"""What a predictor may read, worked out from the graph and the requirements, and checked against the data.

>>> import networkx as nx
>>> from pcm.requirement import Requirement
>>> graph = nx.DiGraph([("A", "X"), ("A", "Z"), ("X", "Y"), ("Z", "Y"), ("A", "Y")])
>>> wiring = Wiring.of(graph, [Requirement("A", outcome="Y", admissible=["A -> X -> Y"])], "Y")
>>> print(wiring)
X  as it is
Z  as it would be, had it seen A's reference
A  not read (A's reference instead)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from pcm.errors import ArgumentError, DataError, UnknownNameError, listed
from pcm.notebook import lines_to_html
from pcm.query.model import model_of
from pcm.requirement import Copy, Requirement, TargetPlan, find_path, target_plan

__all__ = ["Wiring", "outcome_of", "target_of"]


@dataclass(frozen=True)
class Wiring:
    """The inputs of a predictor.

    Attributes
    ----------
    plan : TargetPlan
    inputs : dict of parent to ``"kept"``, ``"corrected"`` or ``"dropped"``
        As it is; replaced by its edge-counterfactual copy; fed the reference.
    needed : tuple of str
        Columns that the inputs are computed from, in the order of the graph.
    """

    plan: TargetPlan
    inputs: dict[str, str]
    needed: tuple[str, ...]

    @classmethod
    def of(cls, graph: nx.DiGraph, requirements: Sequence[Any], outcome: str) -> Wiring:
        """The wiring of a predictor of ``outcome``.

        Raises
        ------
        UnknownNameError, GraphError
            An outcome, source or path that is not in the graph.
        ArgumentError
            A requirement of another outcome, or of another kind than a path requirement; two that pin different
            effects of one source.
        """
        if outcome not in graph:
            raise UnknownNameError(outcome, known=list(graph))
        for each in requirements:
            if not isinstance(each, Requirement) or not each.variables:
                raise ArgumentError(
                    f"{each!r} says nothing about paths, so no choice of inputs can meet it. Ask pcm.check what it "
                    "costs; leave it out of requirements= here."
                )
            if each.outcome != outcome:
                raise ArgumentError(f"{each!r} is about '{each.outcome}'; this predictor's outcome is '{outcome}'.")
        plan = target_plan(graph, requirements, outcome)
        _check_together(graph, requirements)
        kinds = {
            parent: "dropped" if kept is None else "corrected" if isinstance(kept, Copy) else "kept"
            for parent, kept in plan.inputs.items()
        }
        if not kinds:
            raise ArgumentError(f"'{outcome}' has no cause in the graph, so there is nothing to predict it from.")
        needed = {parent for parent, kind in kinds.items() if kind == "kept"}
        for copy in plan.replayed:
            if copy.node != outcome:  # its noise is pulled back from its value given its parents
                needed |= {copy.node, *graph.pred[copy.node]}
        return cls(plan, kinds, tuple(name for name in graph if name in needed))

    def check_columns(self, columns: Collection[Any], hidden: Collection[str], computed: Collection[str]) -> None:
        """Raise unless every needed column is there, declared hidden, or computed by the program.

        Raises
        ------
        DataError
            Naming the first that is not.
        """
        lacking = [name for name in self.needed if name not in columns and name not in hidden and name not in computed]
        if lacking:
            raise DataError(
                f"the data lack {listed(repr(name) for name in lacking)}, which the prediction of "
                f"'{self.plan.outcome}' reads under these requirements; they have {listed(columns)}. Give the column, "
                f"or say hidden={lacking!r}: it is then inferred from the others.",
                missing=lacking,
            )

    def __str__(self) -> str:
        width = max((len(name) for name in self.inputs), default=0)
        return "\n".join(f"{name:<{width}}  {self._input(name, kind)}" for name, kind in self.inputs.items())

    def _repr_html_(self) -> str:
        return lines_to_html((name, self._input(name, kind)) for name, kind in self.inputs.items())

    def _input(self, name: str, kind: str) -> str:
        if kind == "kept":
            return "as it is"
        if kind == "dropped":
            return f"not read ({name}'s reference instead)"
        copy = self.plan.inputs[name]
        assert isinstance(copy, Copy)
        return f"as it would be, had it seen {' and '.join(f'{s}’s' for s in sorted(copy.referred))} reference".replace(
            "’", "'"
        )


def outcome_of(requirements: Sequence[Any]) -> str:
    """The one outcome of some requirements.

    Raises
    ------
    ArgumentError
        None of them has paths, or they are about several outcomes.
    """
    if isinstance(requirements, Requirement):
        raise ArgumentError("requirements= is a list, of one requirement too.")
    if isinstance(requirements, str) or not isinstance(requirements, Sequence):
        raise ArgumentError(f"requirements={requirements!r}: a list of requirements is needed.")
    outcomes = list(dict.fromkeys(r.outcome for r in requirements if isinstance(r, Requirement) and r.outcome))
    if len(outcomes) != 1:
        if not outcomes:
            told = f" no paths: {listed(repr(r) for r in requirements)}" if len(requirements) else " an empty list"
            raise ArgumentError(f"requirements= takes those that have paths to an outcome; found{told}.")
        raise ArgumentError(f"requirements on one outcome are needed; theirs: {listed(outcomes)}.")
    return outcomes[0]


def _check_together(graph: nx.DiGraph, requirements: Sequence[Requirement]) -> None:
    """Raise where one requirement closes a path that another keeps, and neither tolerates a difference."""
    for first in requirements:
        for second in requirements:
            hit = find_path(graph, first, [second], admitted=True, barred=True)
            if hit is None or first.tolerance or second.tolerance:
                continue
            path, _, at = hit
            assert at is not None
            kept, rest = " → ".join(path), " → ".join(path[path.index(at) :])
            closed = "closes it" if at == path[0] else f"closes {rest}"
            other = "itself" if second == first else f"[{second.label}]"
            raise ArgumentError(
                f"[{first.label}] keeps {kept} and {other} {closed}: no prediction does both. Leave a requirement out, "
                "or change its paths; pcm.check says what can coexist.",
                requirements=(first, second),
            )


def target_of(scm: Any, requirements: Sequence[Any]) -> TargetPlan:
    """The target of some requirements on a model; see :meth:`Wiring.of` for what is refused."""
    outcome = outcome_of(requirements)
    model_of(scm)
    return Wiring.of(scm.graph, list(requirements), outcome).plan
