"""A check in closed form: every predictor of the table on a linear law, one value a posterior draw.

>>> import networkx as nx
>>> from pcm.requirement import Requirement, target_plan
>>> from pcm.trust.linear_law import generic_law
>>> graph = nx.DiGraph([("a", "y"), ("x", "y")])
>>> asked = (Requirement("a", outcome="y"),)
>>> found = ClosedForm(graph, generic_law(graph), asked, "y", ("a", "x"), "squared")
>>> [row.name for row in found.rows][-1]
'a: none, observational optimum'
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np

from pcm.graph import parents
from pcm.query.account import Account
from pcm.query.effect import Effect
from pcm.requirement import Independence, Requirement, target_plan
from pcm.trust.linear_answers import LinearAnswers, LinearPredictor
from pcm.trust.linear_law import LinearLaw
from pcm.trust.verdict import Row

__all__ = ["ClosedForm"]


class ClosedForm:
    """Numbers of a check on a linear law.

    Parameters
    ----------
    graph : DiGraph
    law : LinearLaw
    requirements : sequence of Requirement and Independence
    outcome : str
    inputs : sequence of str
    loss : "squared" or "log"
        Log loss is that of a Gaussian with the predictor's mean and the spread of its errors.
    account : Account, optional
    """

    def __init__(
        self,
        graph: nx.DiGraph,
        law: LinearLaw,
        requirements: Sequence[Any],
        outcome: str,
        inputs: Sequence[str],
        loss: str,
        account: Account | None = None,
    ) -> None:
        self.graph, self.law, self.outcome, self.inputs, self.loss = graph, law, outcome, tuple(inputs), loss
        self.pinning = tuple(r for r in requirements if isinstance(r, Requirement) and r.variables)
        self.independence = tuple(r for r in requirements if isinstance(r, Independence))
        self.account = account or Account(rung=3)
        self.answers = self._answers(self.pinning, self.independence)
        named = (*self.answers.plan.sources, *(r.source for r in self.independence))
        self.sources = tuple(dict.fromkeys(named))

    def _answers(self, pinning: Sequence[Requirement], independence: Sequence[Independence] = ()) -> LinearAnswers:
        return LinearAnswers(self.law, target_plan(self.graph, pinning, self.outcome), self.inputs, independence)

    # -- the table ---------------------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """Name of the requirements as a whole."""
        asked = (*self.pinning, *self.independence)
        return asked[0].label if len(asked) == 1 else "together"

    @property
    def delivered(self) -> str:
        """Name of the delivered predictor's row."""
        return f"{self.label}, {'matched' if self.independence else 'faithful'}"

    @property
    def made(self) -> LinearPredictor:
        """The delivered predictor: faithful, or matched where an independence is required."""
        return self.answers.matched if self.independence else self.answers.faithful

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every predictor, the trivial baselines first."""
        answers, sources = self.answers, self.sources
        reads = [n for n in self.inputs if n in parents(self.graph, self.outcome)]
        made: dict[str, LinearPredictor] = {f"Bayes ({', '.join(self.inputs)})": answers.bayes}
        for source in sources:
            if source in self.inputs:
                made[f"unaware (drop {source})"] = answers.without([source])
        if len(sources) > 1:
            made[f"unaware (drop {', '.join(sources)})"] = answers.without(sources)
        made["parents only"] = answers.project(answers.value(self.outcome), reads)
        if sources:
            parity = self._answers((), [Independence(s, outcome=self.outcome) for s in sources])
            made[f"demographic parity in {' and '.join(sources)}"] = parity.matched
        made["constant"] = answers.constant
        if len(self.pinning) > 1:
            for r in self.pinning:
                alone = self._answers([r])
                made[f"{r.label}, faithful"] = alone.faithful
                made[f"{r.label}, observational optimum"] = alone.observational
        pinned = answers.plan.sources
        groups: list[tuple[str, ...]] = [(s,) for s in pinned]
        for group in [*groups, pinned] if len(pinned) > 1 else groups:
            uniform = self._answers([Requirement(s, outcome=self.outcome) for s in group])
            made[f"uniform in {' and '.join(group)}"] = uniform.faithful
        if self.pinning:
            made[f"{self.label}, faithful"] = answers.faithful
        if answers.equations[3] and bool(answers.attainable.all()):
            made[f"{self.label}, matched"] = answers.matched
        if self.pinning:
            made[f"{self.label}, observational optimum"] = answers.observational
        return tuple(self._row(name, predictor) for name, predictor in made.items())

    def _row(self, name: str, made: LinearPredictor) -> Row:
        risk = self.answers.risk(made)
        effects = {s: self._effect(self.answers.effect(made, s), f"effect of {s} on {name}") for s in self.sources}
        return Row(
            name,
            self._effect(self._lost(risk), f"risk of {name}"),
            self._effect(self._price(risk), f"price of {name}"),
            effects,
            made,
        )

    # -- the numbers ---------------------------------------------------------------------------------------------------

    @cached_property
    def price(self) -> Effect:
        """Risk of the delivered predictor above the best."""
        return self._effect(self._price(self.answers.risk(self.made)), "price")

    @cached_property
    def price_minimum(self) -> Effect | None:
        """Least price of a matched predictor; None where none meets the equations."""
        if not bool(self.answers.attainable.all()):
            return None
        return self._effect(self._price(self.answers.risk(self.answers.matched)), "least price")

    @property
    def least_over(self) -> str:
        """The predictors of which that is the least price."""
        return "linear predictors"

    @cached_property
    def shadow_prices(self) -> dict[str, Effect]:
        """The programme's multipliers."""
        if not bool(self.answers.attainable.all()):
            return {}
        scale = 1.0 if self.loss == "squared" else 0.5 / self.answers.risk(self.answers.matched)
        found = self.answers.multipliers
        return {name: self._effect(value * scale, f"shadow price of {name}") for name, value in found.items()}

    @cached_property
    def gaps(self) -> dict[str, Effect]:
        """Residual gaps of the delivered predictor."""
        return {
            s: self._effect(self.answers.gap(self.made, s), f"residual gap of {s}") for s in self.answers.plan.sources
        }

    @cached_property
    def laundering_gap(self) -> Effect | None:
        """What the observational optimum on the corrected features saves."""
        if not self.pinning:
            return None
        gap = self._lost(self.answers.risk(self.made)) - self._lost(self.answers.risk(self.answers.observational))
        return self._effect(gap, "laundering gap")

    def _price(self, risk: np.ndarray) -> np.ndarray:
        return self._lost(risk) - self._lost(self.answers.risk(self.answers.bayes))

    def _lost(self, risk: np.ndarray) -> np.ndarray:
        return risk if self.loss == "squared" else 0.5 * np.log(2 * np.pi * np.e * np.maximum(risk, 1e-300))

    def _effect(self, draws: np.ndarray, label: str) -> Effect:
        clean = np.where(np.abs(draws) < 1e-12, 0.0, draws)
        return Effect(np.asarray(clean, dtype=float), label=label, account=self.account)
