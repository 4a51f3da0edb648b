"""What a check found: whether the requirements can coexist, why not, and at what price.

>>> import pyro, pyro.distributions as dist, pcm
>>> def pair():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     x = pyro.sample("x", dist.Normal(a, 1.0))
...     pyro.sample("y", dist.Normal(2 * a + x, 1.0))
>>> verdict = pcm.check(pcm.SCM(pair), [pcm.Requirement("a", outcome="y", admissible="a -> x -> y")])
>>> verdict.feasible, round(float(verdict.price), 6)
(True, 4.0)
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from pcm.errors import QueryError, UnknownNameError
from pcm.graph import SVG
from pcm.query.account import Account
from pcm.query.effect import Effect
from pcm.query.model import model_of
from pcm.requirement import Requirement
from pcm.requirement.picture import draw
from pcm.scm import SCM
from pcm.trust.conflicts import Conflict
from pcm.trust.linear_answers import LinearAnswers, LinearPredictor
from pcm.trust.linear_law import linear_law

__all__ = ["Row", "Verdict", "figure"]


@dataclass(frozen=True)
class Row:
    """A predictor in the table: its risk, its price, its total effects by source, and its weights where linear."""

    name: str
    risk: Effect
    price: Effect
    effects: Mapping[str, Effect] = field(default_factory=dict)
    predictor: LinearPredictor | None = None


class Verdict:
    """The answer of :func:`pcm.check`.

    Attributes
    ----------
    feasible : bool
        Whether some predictor that has to do with the outcome meets all requirements.
    conflicts : list of Conflict
        ``.kind``, ``.core`` (requirements), ``.certificate`` in words.
    core : tuple of requirements
        A minimal infeasible subset; empty where the set is feasible.
    price : Effect or None
        Factual risk of the delivered predictor less that of the best one; None without a law.
    price_minimum : Effect or None
        The least such difference over predictors whose effects match the target's on average (or that are independent
        as required); None where there is none, or no law.
    least_over : str
        The predictors of which the least price is the least: linear ones, every function of the inputs, or those that
        a simulation looked at (then the least of all may be lower).
    shadow_prices : dict of source to Effect
        Slope of the least price as the pinned effect grows by one unit per unit of the source (turned about the
        source's mean), towards the best predictor; of a label, as the effect of that label does. On a linear law also
        what a unit of tolerance saves.
    gaps : dict of source to Effect
        How much more than the target the delivered predictor responds to each source.
    laundering_gap : Effect or None
        Risk of the delivered predictor less that of the observational optimum on the corrected features.
    rows : tuple of Row
        The predictors of the table.
    delivered : str
        Which of them is delivered: the faithful one, or the matched one where independence is required.
    how : str
        By which method the numbers were had.

    Examples
    --------
    >>> import networkx as nx, pcm
    >>> pcm.check(nx.DiGraph([("a", "y"), ("b", "y")]), [pcm.counterfactual_fairness("a", outcome="y")])
    Verdict: 1 requirement on y can be met (from the graph, for generic parameters)
    """

    def __init__(
        self,
        *,
        graph: nx.DiGraph,
        requirements: tuple[Any, ...],
        outcome: str,
        inputs: tuple[str, ...],
        conflicts: list[Conflict],
        core: tuple[Any, ...],
        feasible: bool,
        loss: str,
        how: str,
        rows: tuple[Row, ...] = (),
        delivered: str = "",
        price: Effect | None = None,
        price_minimum: Effect | None = None,
        least_over: str = "",
        shadow_prices: Mapping[str, Effect] | None = None,
        gaps: Mapping[str, Effect] | None = None,
        laundering_gap: Effect | None = None,
        account: Account | None = None,
    ) -> None:
        self.graph, self.requirements, self.outcome, self.inputs = graph, requirements, outcome, inputs
        self.conflicts, self.core, self.feasible, self.loss, self.how = conflicts, core, feasible, loss, how
        self.rows, self.delivered, self.price, self.price_minimum = rows, delivered, price, price_minimum
        self.shadow_prices, self.gaps, self.laundering_gap = dict(shadow_prices or {}), dict(gaps or {}), laundering_gap
        self.account, self.least_over = account, least_over

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the verdicts, each once."""
        return tuple(dict.fromkeys(conflict.kind for conflict in self.conflicts))

    @property
    def table(self) -> pd.DataFrame:
        """The predictors, a row each: risk, price, and total effect of each source."""
        return self.to_dataframe()

    def to_dataframe(self, prob: float | None = None) -> pd.DataFrame:
        """The table; with ``prob`` also the interval of the risk: over the posterior, or of the simulation."""
        made: dict[str, dict[str, float]] = {}
        for row in self.rows:
            cells = {_risk_name(self.loss): row.risk.mean, "price": row.price.mean}
            if prob is not None:
                cells["low"], cells["high"] = row.risk.interval(prob)
            if row.risk.standard_error:
                cells["s.e."] = row.risk.standard_error
            made[row.name] = cells | {f"effect of {name}": effect.mean for name, effect in row.effects.items()}
        frame = pd.DataFrame.from_dict(made, orient="index").rename_axis("predictor")
        # the first rows may be exact, and have no standard error
        columns = sorted(frame.columns, key=lambda name: (name.startswith("effect of "), name == "s.e."))
        return frame.reindex(columns=columns)

    def row(self, name: str) -> Row:
        """One predictor of the table."""
        for row in self.rows:
            if row.name == name:
                return row
        raise UnknownNameError(name, kind="predictor", known=[row.name for row in self.rows], where="the table")

    def risk_under(self, scm: SCM, name: str | None = None) -> Effect:
        """Squared error of a predictor of the table in another model of the same variables, such as ``scm.do(…)``.

        Raises
        ------
        QueryError
            The predictor, or the other model, is not linear.
        """
        model_of(scm)
        row = self.row(self.delivered if name is None else name)
        law = linear_law(scm)
        if row.predictor is None or isinstance(law, str):
            reason = law if isinstance(law, str) else "the predictor is not linear in its inputs"
            raise QueryError(f"the risk under an intervention has no closed form here: {reason}.")
        lacking = [n for n in (*row.predictor.inputs, self.outcome) if n not in law.place]
        if lacking:
            raise UnknownNameError(lacking[0], known=list(law.names))
        from pcm.requirement import target_plan

        found = LinearAnswers(law, target_plan(scm.graph, (), self.outcome), row.predictor.inputs)
        return Effect(found.risk(row.predictor), label=f"squared error of {row.name} in {scm!r}")

    # -- shown -------------------------------------------------------------------------------------------------------

    def draw(self, **options: Any) -> SVG:
        """The graph, admissible edges green, inadmissible ones red, those that are both amber."""
        return draw(self.graph, [r for r in self.requirements if isinstance(r, Requirement) and r.variables], **options)

    def plot(self, prob: float = 0.95) -> Any:
        """Figure of the prices: a row a predictor, with its interval."""
        from pcm.figures import interval_rows

        if not self.rows:
            raise QueryError("there are no prices to plot: the check was of a graph, without a law.")
        means = np.array([row.price.mean for row in self.rows])
        low, high = np.array([row.price.interval(prob) for row in self.rows]).T
        return interval_rows(
            [row.name for row in self.rows],
            means,
            low,
            high,
            reference=0.0,
            xlabel=f"price ({_risk_name(self.loss)} above the best)",
        )

    def _lines(self) -> list[str]:
        count = len(self.requirements)
        head = ("can" if self.feasible else "cannot") + (" coexist" if count > 1 else " be met")
        asked = f"{count} requirement{'s' if count != 1 else ''} on {self.outcome} {head}"
        if not count:  # of a class of graphs: the sources come after the outcome in this member
            asked = f"nothing is asked of {self.outcome} here"
        lines = [f"Verdict: {asked} ({self.how})"]
        lines += [f"  {conflict!r}" for conflict in self.conflicts]
        for name, effect in (("price", self.price), ("least price", self.price_minimum)):
            if effect is not None:
                over = f" (over {self.least_over})" if name == "least price" and self.least_over else ""
                lines.append(f"  {name}: {figure(effect)}{over}")
        if self.shadow_prices:
            told = ", ".join(f"{name} {figure(effect)}" for name, effect in self.shadow_prices.items())
            lines.append(f"  shadow prices: {told}")
        if self.laundering_gap is not None:
            lines.append(f"  laundering gap: {figure(self.laundering_gap)}")
        return lines

    def __repr__(self) -> str:
        lines = self._lines()
        if self.rows:
            shown = self.table.rename_axis(None).to_string(float_format=lambda value: f"{value:.4f}", na_rep="")
            lines.append(shown.replace("-0.0000", " 0.0000"))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        lines = self._lines()
        items = "".join(f"<li>{html.escape(line.strip())}</li>" for line in lines[1:])
        table = self.table.to_html(float_format=lambda value: f"{value:.4f}", na_rep="") if self.rows else ""
        return f"<div><p><b>{html.escape(lines[0])}</b></p><ul>{items}</ul>{self.draw()}{table}</div>"


def _risk_name(loss: str) -> str:
    return "MSE" if loss == "squared" else "log loss"


def figure(effect: Effect) -> str:
    """An effect without its label."""
    return repr(effect).rpartition(": ")[2]
