"""Targeted obfuscation: noise where the graph asks for it, and only there.

Of the variables that could be released, those d-separated from the private one (given what the adversary knows) may go
out raw; the others must pass a mechanism, together at ε. That set is the least one and unique: d-separation composes,
so whether a variable may stay raw does not depend on what else is released. How to split ε among them is chosen for a
utility: what the release says about another variable under the model. Beside it stand noise on everything at the same
claim, no privacy at all, and simply dropping what would need noise, which at small ε is as good.

>>> import pyro, pyro.distributions as dist, pcm
>>> def clinic():
...     hiv = pyro.sample("hiv", dist.Bernoulli(0.3))
...     site = pyro.sample("site", dist.Bernoulli(0.5))
...     drug = pyro.sample("drug", dist.Bernoulli(0.1 + 0.8 * hiv))
...     pyro.sample("stay", dist.Bernoulli(0.1 + 0.4 * drug + 0.4 * site))
>>> targeted(pcm.SCM(clinic), private="hiv", candidates=["site", "drug"], utility="stay", epsilon=1.0)
Obfuscation of hiv at ε = 1: noise on drug (drug ← hiv), ε 1; raw site
  targeted       information about stay 0.1013
  uniform        information about stay 0.0324
  drop           information about stay 0.0839
  no privacy     information about stay 0.1758

References
----------
Kifer & Machanavajjhala, "Pufferfish", ACM TODS 2014. Blackwell, "Equivalent comparisons of experiments", 1953.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd

from pcm.arguments import check_count, check_positive, check_seed
from pcm.errors import ArgumentError, ClaimError, listed
from pcm.private.curve import DROP, MEASURES, NONE, TARGETED, UNIFORM, Worlds, best_split, read_worlds
from pcm.private.promises import RAW, read_names
from pcm.private.separation import check_graph, open_trails
from pcm.query.model import model_of

if TYPE_CHECKING:
    from pcm.figures.chart import Chart

__all__ = ["Obfuscation", "targeted"]

_STRATEGIES = (TARGETED, UNIFORM, DROP, NONE)


class Obfuscation:
    """What to release raw, what through which mechanism, and what that costs; made by :func:`targeted`.

    Attributes
    ----------
    epsilon : float
        Of the graph-conditional claim.
    noised : dict of name to str
        Variables that must pass a mechanism, each with the trail that joins it to the private one.
    raw : tuple of str
        Variables that need none.
    split : dict of name to float
        ε of each noised variable at ``epsilon``; 0 says that it is better dropped.
    releases : dict of name to mechanism or "raw"
        For :func:`pcm.private.claims`.
    private, adversary : tuple of str
    utility, measure : str
    """

    def __init__(
        self,
        curve: pd.DataFrame,
        *,
        epsilon: float,
        noised: Mapping[str, str],
        raw: tuple[str, ...],
        split: Mapping[str, float],
        releases: Mapping[str, Any],
        private: tuple[str, ...],
        adversary: tuple[str, ...],
        utility: str,
        measure: str,
    ) -> None:
        self._curve, self.epsilon, self.noised, self.raw = curve, epsilon, dict(noised), raw
        self.split, self.releases, self.private, self.adversary = dict(split), dict(releases), private, adversary
        self.utility, self.measure = utility, measure

    def to_dataframe(self) -> pd.DataFrame:
        """The budget–utility curve: a row an ε and strategy.

        Strategies: ``targeted``; ``uniform``, noise of one ε on every candidate, the claim being the same; ``drop``,
        the variables that would need noise left out; ``no privacy``. Columns: ``epsilon``, ``strategy``, the measure's
        name, ``unconditional`` and ``graph_conditional`` (ε of the claims), ``leak`` (the model-conditional ε, no
        guarantee).
        """
        return self._curve.copy()

    def at(self, epsilon: float | None = None) -> pd.DataFrame:
        """The four strategies at one ε of the curve, indexed by strategy."""
        epsilon = self.epsilon if epsilon is None else check_positive(epsilon, "epsilon")
        rows = self._curve[np.isclose(self._curve["epsilon"], epsilon)]
        if rows.empty:
            raise ArgumentError(f"ε = {epsilon} is not on the curve; it has {listed(self._curve['epsilon'].unique())}.")
        return rows.set_index("strategy")

    def gain(self, epsilon: float | None = None) -> float:
        """How much better targeted noise is than dropping the variables, by the measure; at least 0."""
        values = self.at(epsilon)[self.measure]
        noised, dropped = values.loc[[TARGETED, DROP]].to_numpy(float)
        return float(MEASURES[self.measure].sign * (noised - dropped))

    def plot(self) -> Chart:
        """Utility against ε for the four strategies.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from pcm.private.picture import curve_picture

        return curve_picture(self)

    def _title(self) -> str:
        shares = {name: f"ε {share:.3g}" if name in self.releases else "drop it" for name, share in self.split.items()}
        noised = "; ".join(f"{name} ({trail}), {shares[name]}" for name, trail in self.noised.items())
        knows = f", known to the adversary: {listed(self.adversary)}" if self.adversary else ""
        return (
            f"Obfuscation of {listed(self.private)} at ε = {self.epsilon:g}{knows}: "
            f"noise on {noised or 'nothing'}; raw {listed(self.raw) if self.raw else 'nothing'}"
        )

    def __repr__(self) -> str:
        what = MEASURES[self.measure].words.format(self.utility)
        rows = [f"  {name:<14} {what} {value:.4f}" for name, value in self.at()[self.measure].items()]
        return "\n".join([self._title(), *rows])

    def _repr_html_(self) -> str:
        table = self._curve.pivot(index="epsilon", columns="strategy", values=self.measure)[list(_STRATEGIES)]
        what = MEASURES[self.measure].words.format(self.utility)
        return (
            f"<p>{html.escape(self._title())}</p><p>{html.escape(what)}</p>"
            f"{table.to_html(float_format=lambda x: f'{x:.4f}')}"
        )


def targeted(
    scm: Any,
    *,
    private: str | Iterable[str],
    candidates: str | Iterable[str],
    utility: str,
    epsilon: float,
    epsilons: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    adversary: str | Iterable[str] = (),
    graph: nx.DiGraph | None = None,
    measure: str = "information",
    mechanism: Callable[[str, float, tuple[Any, ...]], Any] | None = None,
    draws: int = 20,
    seed: int | None = None,
) -> Obfuscation:
    """Choose which variables must pass a mechanism, and how to split ε among them.

    Parameters
    ----------
    scm : SCM
        Finite in what bears on the release; fitted, given, or without parameters.
    private : str or list of str
        What must stay hidden.
    candidates : str or list of str
        Variables that could be released.
    utility : str
        Variable that the release should tell about.
    epsilon : float
        Total, of the graph-conditional claim.
    epsilons : sequence of float
        Of the curve, beside ``epsilon``.
    adversary : str or list of str
        Variables of the unit that the adversary knows.
    graph : networkx.DiGraph, optional
        The graph of the claim, with all edges of the program.
    measure : {"information", "error", "squared"}
        Mutual information in nats; the error rate of the best guess; the mean squared error of the best prediction.
    mechanism : callable, optional
        ``(name, epsilon, values) → mechanism``; randomised response by default.
    draws : int
        Of a fit's parameters, over which utilities are averaged.
    seed : int, optional

    Returns
    -------
    Obfuscation

    Raises
    ------
    ClaimError
        The claimed graph lacks an edge of the program, or the adversary knows what is private.
    QueryError
        A variable that is not finite, too large a law.
    UnknownNameError, ArgumentError
        Names that are no variables, ε that are not positive and finite, a utility that is private.
    """
    check_count(draws, "draws")
    if seed is not None:
        check_seed(seed)
    if isinstance(epsilons, str) or not isinstance(epsilons, Sequence | np.ndarray):
        raise ArgumentError(f"epsilons={epsilons!r}: a list of ε is needed.")
    if mechanism is not None and not callable(mechanism):
        raise ArgumentError(f"mechanism={mechanism!r}: a function (name, epsilon, values) → mechanism is needed.")
    model, program = model_of(scm), scm.graph
    secrets, known = read_names(private, program, "private"), read_names(adversary, program, "adversary", empty=True)
    names, (goal,) = read_names(candidates, program, "candidates"), read_names(utility, program, "utility")
    if set(secrets) & set(known):
        raise ClaimError(f"the adversary knows {listed(set(secrets) & set(known))}: nothing is left to protect.")
    if goal in secrets:
        raise ArgumentError(f"'{goal}' is both private and what the release should tell about.")
    if measure not in MEASURES:
        raise ArgumentError(f"measure={measure!r} is none of {listed(MEASURES)}.")
    budgets = sorted({_budget(value) for value in (*epsilons, epsilon)})
    if graph is not None:
        check_graph(graph, program)
    trails = open_trails(program if graph is None else graph, secrets, names, known)
    free = tuple(name for name in names if name not in trails)
    worlds = read_worlds(model, secrets, known, goal, names, measure, mechanism, draws, seed)
    rows: list[dict[str, Any]] = []
    splits = {}
    for budget in budgets:
        splits[budget] = best_split(worlds, free, tuple(trails), budget)
        rows += _rows(worlds, free, tuple(trails), budget, splits[budget])
    split = splits[_budget(epsilon)]
    chosen = {name: worlds.mechanism(name, share) for name, share in split.items() if worlds.kept(share)}
    return Obfuscation(
        pd.DataFrame(rows),
        epsilon=float(epsilon),
        noised=trails,
        raw=free,
        split=split,
        releases={**dict.fromkeys(free, RAW), **chosen},
        private=secrets,
        adversary=known,
        utility=goal,
        measure=measure,
    )


def _rows(
    worlds: Worlds, free: tuple[str, ...], noised: tuple[str, ...], budget: float, split: Mapping[str, float]
) -> list[dict[str, Any]]:
    every = (*free, *noised)
    raw = dict.fromkeys(free, np.inf)
    shared = budget / (len(noised) or len(every))  # the same claim about the private variable
    plans = {
        TARGETED: ({**raw, **split}, sum(split.values())),
        UNIFORM: (dict.fromkeys(every, shared), budget if noised else 0.0),
        DROP: (raw, 0.0),
        NONE: (dict.fromkeys(every, np.inf), np.inf if noised else 0.0),
    }
    return [
        {
            "epsilon": budget,
            "strategy": name,
            worlds.measure: worlds.value(shares),
            "unconditional": sum(shares.values()),
            "graph_conditional": claim,
            "leak": worlds.leak(shares),
        }
        for name, (shares, claim) in plans.items()
    ]


def _budget(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
        raise ArgumentError(f"ε = {value!r}: a positive, finite number is needed.")
    return float(value)
