"""Which requirements can coexist, and why not: verdicts with certificates that a person can check.

A requirement pins the effect along its own admissible paths. The joint target delivers, of those, the paths that every
source on them admits; where a path is lost, no predictor meets both (a *contradiction* on one source, else
*unattainable*, a subsumption). What is left are linear equations on a predictor's weights. A set is feasible where some
predictor that has to do with the outcome solves them; one that tells nothing of the outcome counts as a constant. Both
parts can only get harder with more requirements, so dropping members one by one ends in a minimal core.

>>> import networkx as nx
>>> from pcm.requirement import Requirement
>>> graph = nx.DiGraph([("a", "y"), ("e", "y")])
>>> pair = [Requirement("a", outcome="y"), Requirement("a", outcome="y", admissible="all")]
>>> found = Coexistence(graph, pair, "y", ("a", "e"))
>>> found.feasible, found.conflicts[0].kind
(False, 'contradiction')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
from scipy.optimize import linprog

from pcm.errors import listed
from pcm.graph import ancestors, descendants
from pcm.notebook import Shown
from pcm.requirement import Independence, Requirement, TargetPlan, find_path, target_plan
from pcm.requirement.programme import SLACK
from pcm.trust.linear_answers import LinearAnswers
from pcm.trust.linear_law import LinearLaw, generic_law

__all__ = ["KINDS", "Coexistence", "Conflict"]

KINDS = (
    "contradiction",
    "subsumption",
    "recanting witness",
    "informational",
    "statistical",
    "soft",
    "free",
)


@dataclass(frozen=True)
class Conflict(Shown):
    """One verdict.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    core : tuple of requirements
        Those that it is about; of an infeasible set none can be left out.
    certificate : str
        Why, in words that a person can check on the graph.
    fatal : bool
        Whether it makes the set infeasible.

    Examples
    --------
    >>> import networkx as nx, pcm
    >>> pair = [pcm.irrelevant_to("a", outcome="y"), pcm.responsive_to("a", outcome="y")]
    >>> pcm.check(nx.DiGraph([("a", "y"), ("b", "y")]), pair).conflicts[0].certificate
    'on the one source a, [a: all] keeps a → y and [a: none] closes it (for generic coefficients ...)'
    """

    kind: str
    core: tuple[Any, ...]
    certificate: str
    fatal: bool = False

    def __repr__(self) -> str:
        return f"{self.kind}: {self.certificate}"


class Coexistence:
    """Requirements on a graph: whether they can all be met, and the verdicts that the graph gives.

    Parameters
    ----------
    graph : DiGraph
    requirements : sequence of Requirement and Independence
    outcome : str
    inputs : sequence of str
        Variables that a predictor may read.
    law : LinearLaw, optional
        The model's own, one draw; a generic one (random coefficients) by default.
    """

    def __init__(
        self,
        graph: nx.DiGraph,
        requirements: Sequence[Any],
        outcome: str,
        inputs: Sequence[str],
        law: LinearLaw | None = None,
    ) -> None:
        self.graph, self.outcome, self.inputs = graph, outcome, tuple(inputs)
        self.requirements = tuple(requirements)
        self.law, self.generic = generic_law(graph) if law is None else law, law is None
        self.pinning = tuple(r for r in requirements if isinstance(r, Requirement) and r.variables)
        self._known: dict[tuple[int, ...], bool] = {}
        self._plans: dict[tuple[Requirement, ...], TargetPlan] = {}

    # -- feasibility -------------------------------------------------------------------------------------------------

    @cached_property
    def plan(self) -> TargetPlan:
        """The joint target."""
        return self._plan(self.pinning)

    def _plan(self, requirements: Sequence[Requirement]) -> TargetPlan:
        """The target of some of them, made once."""
        key = tuple(requirements)
        if key not in self._plans:
            self._plans[key] = target_plan(self.graph, key, self.outcome)
        return self._plans[key]

    @property
    def feasible(self) -> bool:
        """Whether some predictor that has to do with the outcome meets all of them."""
        return self._feasible(range(len(self.requirements)))

    @cached_property
    def core(self) -> tuple[int, ...]:
        """Places of a minimal infeasible subset; empty where the set is feasible."""
        kept = list(range(len(self.requirements)))
        if self._feasible(kept):
            return ()
        for place in list(kept):
            fewer = [i for i in kept if i != place]
            if not self._feasible(fewer):
                kept = fewer
        return tuple(kept)

    def _feasible(self, places: Any) -> bool:
        key = tuple(places)
        if key not in self._known:
            chosen = [self.requirements[i] for i in key]
            lost = any(i in key and j in key for i, j in self.lost)
            self._known[key] = not lost and self._solvable(chosen, self.inputs)
        return self._known[key]

    @cached_property
    def lost(self) -> dict[tuple[int, int], tuple[tuple[str, ...], str]]:
        """Pairs of which the second bars an admissible path of the first: the path, and the variable that bars it.

        One with several sources may bar a path of its own, where it passes another of them.
        """
        found: dict[tuple[int, int], tuple[tuple[str, ...], str]] = {}
        for i, first in enumerate(self.requirements):
            for j, second in enumerate(self.requirements):
                if first not in self.pinning or second not in self.pinning:
                    continue
                hit = find_path(self.graph, first, [second], admitted=True, barred=True)
                if hit is not None and self._apart(first, second, hit[0][0]):
                    found[i, j] = hit[0], str(hit[2])
        return found

    def _apart(self, first: Requirement, second: Requirement, source: str) -> bool:
        """Whether the effects differ by more than is tolerated."""
        slack = first.tolerance + (second.tolerance if source in second.variables else 0.0)
        return slack == 0 or abs(self._pinned(first, source) - self._effect([first, second], source)) > slack + SLACK

    def _pinned(self, r: Requirement, source: str) -> float:
        """Effect of one source along its own admissible paths."""
        if len(r.variables) > 1:
            mine = [" -> ".join(p) for p in r.admissible.patterns if p[0] == source]
            kept = "all" if r.admissible.everything else [*mine, *r.admissible.edges]
            r = Requirement(source, outcome=r.outcome, admissible=kept)
        return self._effect([r], source)

    def _effect(self, requirements: Sequence[Requirement], source: str) -> float:
        answers = LinearAnswers(self.law, self._plan(requirements), ())
        return float(answers.target[0, self.law.place[source]])

    def _unmet(self, chosen: Sequence[Any]) -> bool:
        """Whether a constant, the last resort, does not meet them either: an effect other than none is pinned."""
        pinning = [r for r in chosen if isinstance(r, Requirement) and r.variables]
        return any(abs(self._effect(pinning, name)) > r.tolerance + SLACK for r in pinning for name in r.variables)

    def _solvable(self, chosen: Sequence[Any], inputs: Sequence[str]) -> bool:
        """Whether the equations have a solution whose prediction is correlated with the outcome."""
        pinning = [r for r in chosen if isinstance(r, Requirement) and r.variables]
        answers = LinearAnswers(
            self.law, self._plan(pinning), inputs, [r for r in chosen if isinstance(r, Independence)]
        )
        every, right, slack, _ = answers.equations
        values = right[0]
        rows = np.where(np.abs(every[0]) < 1e-12, 0.0, every[0])  # a rank is relative: rounding must not make one
        inputs_as = self.law.values[0, [self.law.place[n] for n in inputs]]
        towards = (inputs_as[:, :-1] * self.law.variances[0]) @ answers.value(self.outcome)[0, :-1]
        if not len(inputs):
            return False
        if not len(rows):
            return bool(np.abs(towards).max() > SLACK)
        if np.any(slack):
            return _some_weights(rows, values, slack, towards)
        met, _, rank, _ = np.linalg.lstsq(rows, values, rcond=1e-10)
        if np.abs(rows @ met - values).max() > 1e-7 * (1 + np.abs(values).max()):
            return False
        left = np.linalg.svd(rows)[2][rank:]
        return bool(abs(towards @ met) > 1e-9 or (len(left) and np.abs(left @ towards).max() > 1e-9))

    # -- verdicts ----------------------------------------------------------------------------------------------------

    @cached_property
    def conflicts(self) -> list[Conflict]:
        """Every verdict of the graph; those about price and gaps need a law and are added by the check."""
        found = [self._fatal()] if not self.feasible else []
        found += [c for c in (self._pair_verdict(i, j) for i, j in self.lost) if not found or c.core != found[0].core]
        return [*found, *self._redundant(), *self._witnesses(), *self._informational(), *self._statistical()]

    def _fatal(self) -> Conflict:
        core = self.core
        pair = next(((i, j) for i, j in self.lost if i in core and j in core), None)
        if pair is not None:
            return self._pair_verdict(*pair)
        chosen = tuple(self.requirements[i] for i in core)
        read = listed(self.inputs)
        if not core:
            said = f"{read} say nothing of {self.outcome}" if self.inputs else f"nothing comes before {self.outcome}"
            return Conflict("informational", (), f"{said}: a constant alone is left, whatever is required", True)
        every = [n for n in self.graph if n != self.outcome and n not in descendants(self.graph, self.outcome)]
        if set(self.inputs) != set(every) and self._solvable(chosen, every):
            hidden = [n for n in every if n not in self.inputs]
            return Conflict(
                "informational",
                chosen,
                f"with {listed(hidden)} unobserved, what {read} say of {self.outcome} "
                f"cannot be cleared of {listed(dict.fromkeys(_variables(chosen)))}: no function of them responds as "
                f"asked{'' if self._unmet(chosen) else ' but a constant'}. With all variables observed the set is "
                "feasible",
                True,
            )
        if self._unmet(chosen):
            pinned = ", ".join(
                f"[{r.label}] pins the effect of {name}"
                + ("" if self.generic else f" at {self._effect([r], name):.4g}")
                for r in chosen
                if isinstance(r, Requirement)
                for name in r.variables
            )
            apart = " and ".join(f"[{r.label}]" for r in chosen if isinstance(r, Independence))
            return Conflict(
                "contradiction",
                chosen,
                pinned
                + (f", and {apart} asks for no dependence at all" if apart else "")
                + f": no function of {read} responds so, not even a constant",
                True,
            )
        if all(isinstance(r, Independence) for r in chosen):
            about = dict.fromkeys(_variables(chosen))
            return Conflict(
                "contradiction",
                chosen,
                f"{' and '.join(r.label for r in chosen)} leave the prediction unrelated to {self.outcome}, for "
                f"{self.outcome} depends on {listed(about)}: only constants meet "
                + ("both" if len(chosen) == 2 else "them" if len(chosen) > 2 else "it"),
                True,
            )
        pinned = listed(dict.fromkeys(_variables(chosen)))
        return Conflict(
            "subsumption",
            chosen,
            f"what {read} say of {self.outcome} comes from {pinned} along paths that must "
            "stay closed: a constant alone meets the requirements" + ("" if len(chosen) == 1 else " together"),
            True,
        )

    def _pair_verdict(self, i: int, j: int) -> Conflict:
        first, second = self.requirements[i], self.requirements[j]
        path, at = self.lost[i, j]
        words = " → ".join(path)
        if self.generic:
            told = f"(for generic coefficients the effects of {path[0]} differ)"
        else:
            alone, both = self._pinned(first, path[0]), self._effect([first, second], path[0])
            told = f"(effect of {path[0]}: {alone:.4g} pinned, {both:.4g} left)"
        core = (first, second) if i != j else (first,)
        rest = " → ".join(path[path.index(at) :])
        if i == j:
            words = (
                f"[{first.label}] keeps {words}, which passes {at}, another source of its own, and closes {rest} "
                f"{told}: list '{rest.replace('→', '->')}' too, or leave {at} out of its sources"
            )
            return Conflict("contradiction", core, words, True)
        if at == path[0]:
            words = f"on the one source {at}, [{first.label}] keeps {words} and [{second.label}] closes it {told}"
            return Conflict("contradiction", core, words, True)
        return Conflict(
            "subsumption",
            core,
            f"[{first.label}] keeps {words}, which passes {at}, and [{second.label}] closes {rest}: what satisfies the "
            f"second cannot satisfy the first {told}",
            True,
        )

    def _redundant(self) -> list[Conflict]:
        found: list[Conflict] = []
        for r in self.pinning:
            rest = [other for other in self.pinning if other is not r]
            if not self._closes(r) or not rest:
                continue
            for others in [*([other] for other in rest), *([rest] if len(rest) > 1 else [])]:
                if self._implied(r, others):
                    core = (r, *others)
                    if not any(set(core) == set(c.core) for c in found):
                        said = " and ".join(f"[{o.label}]" for o in others)
                        found.append(
                            Conflict(
                                "subsumption",
                                core,
                                f"[{r.label}] is redundant: every inadmissible path of it is already closed by {said}, "
                                "and no admissible one is",
                            )
                        )
                    break
        return found

    def _closes(self, r: Requirement) -> bool:
        """Whether there is an inadmissible path at all."""
        return find_path(self.graph, r, [], admitted=False, barred=False) is not None

    def _implied(self, r: Requirement, others: Sequence[Requirement]) -> bool:
        return (
            find_path(self.graph, r, others, admitted=False, barred=False) is None
            and find_path(self.graph, r, others, admitted=True, barred=True) is None
        )

    def _witnesses(self) -> list[Conflict]:
        found = []
        for witness in self.plan.witnesses:
            core: tuple[Requirement, ...] = self.pinning
            for r in self.pinning:
                if witness in self._plan([r]).witnesses:
                    core = (r,)
                    break
            copies = [copy for copy in self.plan.copies if copy.node == witness]
            found.append(
                Conflict(
                    "recanting witness",
                    core,
                    f"the target needs {witness} twice in one unit, as {' and as '.join(map(repr, copies))}: along one "
                    f"path {witness} passes the change on and along another it withholds it. No experiment identifies "
                    "this; it rests on the program's own noise (model-dependent)",
                )
            )
        return found

    def _informational(self) -> list[Conflict]:
        found: list[Conflict] = []
        sources = self.plan.sources
        answers = LinearAnswers(self.law, self.plan, self.inputs)
        gaps = {name: abs(float(answers.gap(answers.faithful, name)[0])) > 1e-9 for name in sources}
        for hidden in sources:
            if hidden in self.inputs:
                continue
            for other in sources:
                meets = descendants(self.graph, hidden) & descendants(self.graph, other, include_self=True)
                entered = [n for n in self.graph if n in meets and n in self.inputs]
                first = [n for n in entered if not (ancestors(self.graph, n) & set(entered))]
                if other == hidden or not first or not (gaps[hidden] or gaps[other]):
                    continue
                core = tuple(r for r in self.pinning if {hidden, other} & {*r.variables})
                if not any(c.core == core for c in found):
                    found.append(
                        Conflict(
                            "informational",
                            core,
                            f"{hidden} and {other} both enter {listed(first)}, and {hidden} is not observed: what they "
                            "did there cannot be told apart from the inputs",
                        )
                    )
        return found

    def _statistical(self) -> list[Conflict]:
        return [
            Conflict(
                "statistical",
                (r,),
                f"privacy of inclusion (ε = {r.source.epsilon:g}, δ = {r.source.delta:g}) bounds what a row may change "
                "of the fit; it closes no path of the graph, and its price is noise that falls with the number of rows",
            )
            for r in self.requirements
            if isinstance(r, Requirement) and not r.variables
        ]


def _variables(requirements: Sequence[Any]) -> list[str]:
    return [n for r in requirements for n in (r.variables if isinstance(r, Requirement) else (r.source,))]


def _some_weights(rows: np.ndarray, values: np.ndarray, slack: np.ndarray, towards: np.ndarray) -> bool:
    """Whether ``|rows w − values| ≤ slack`` has a solution with ``towards · w ≠ 0``."""
    above, below = np.concatenate([rows, -rows]), np.concatenate([values + slack, slack - values]) + SLACK
    for sign in (1.0, -1.0):
        done = linprog(-sign * towards, A_ub=above, b_ub=below, bounds=(None, None), method="highs")
        if done.status == 3 or (done.status == 0 and sign * (towards @ done.x) > 1e-7):
            return True
    return False
