"""Sensitivity: how strong an unmeasured confounder must be to change an effect.

Two answers. The *robustness value* of Cinelli & Hazlett (:mod:`pcm.query.robustness`): the share of the residual
variance of both treatment and outcome that the confounder must explain. And a grid: the effect with a standard normal
confounder of each pair of strengths taken out (:mod:`pcm.query.confounder`), with the line along which its interval
touches zero, and what the observed covariates amount to on the same axes.

>>> import pyro, pyro.distributions as dist, pcm
>>> def study():
...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
...     t = pyro.sample("t", dist.Normal(0.5 * z, 1.0))
...     pyro.sample("y", dist.Normal(0.8 * t + 0.3 * z, 1.0))
>>> found = sensitivity(pcm.SCM(study)._model, "t", "y", seed=0)
>>> found
Sensitivity of the effect of t on y, 0.800, to an unmeasured confounder:
  it brings the effect to 0 by explaining 54.2 % of what is left of both t and y (robustness value)
  as strong as z (0.49 on t, 0.3 on y): the effect would be 0.655
>>> found.adjusted(0.5, 0.3)
0.65
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from pcm.arguments import check_probability
from pcm.errors import ArgumentError
from pcm.figures.numerals import number
from pcm.notebook import Shown
from pcm.query import effects
from pcm.query.confounder import OutcomeLaw, TreatmentLaw, bias, spread_ratio
from pcm.query.effect import Effect
from pcm.query.mechanisms import code_of, mechanism_site
from pcm.query.model import Model
from pcm.query.robustness import robustness_of, robustness_value
from pcm.query.sampling import sample
from pcm.query.strengths import Mechanisms
from pcm.worlds import choose_seed

if TYPE_CHECKING:
    from pcm.figures.chart import Chart

__all__ = ["Sensitivity", "sensitivity"]

_STEPS = 25
_SCALES = {"logit": "logit", "log": "log mean", "mean": "mean", "identity": "mean"}


@dataclass(frozen=True, eq=False)
class Sensitivity(Shown):
    """How an effect fares against an unmeasured confounder.

    Strengths are what one standard deviation of the confounder adds to the treatment (its logit if Bernoulli, its mean
    if Normal) and to the outcome (its mean, logit or log mean).

    Attributes
    ----------
    treatment, outcome : str
    effect : Effect
        As the program has it, without a confounder.
    robustness_value : float
        Partial R² with both treatment and outcome that takes a fraction ``q`` of the effect away.
    robustness_value_alpha : float or None
        The same for the interval to touch what is then left; None where the effect has no uncertainty.
    q, alpha : float
    df : float or None
        Residual degrees of freedom behind them.
    exact : bool
        Whether the robustness value's regression is the program's own: a linear outcome, nothing between treatment and
        outcome. Otherwise the effect is read as if it were a regression's coefficient, an approximation.
    grid : xarray.Dataset
        ``effect``, ``low``, ``high`` over ``strength_treatment`` and ``strength_outcome``; NaN where a confounder so
        strong would explain more than there is to explain.
    benchmarks : pandas.DataFrame
        A row an observed cause: its strengths, and the effect with a confounder as strong taken out.
    """

    treatment: str
    outcome: str
    effect: Effect
    robustness_value: float
    robustness_value_alpha: float | None
    q: float
    alpha: float
    df: float | None
    exact: bool
    grid: xr.Dataset
    benchmarks: pd.DataFrame
    _laws: tuple[TreatmentLaw, OutcomeLaw] = field(repr=False)

    def adjusted(self, strength_treatment: float, strength_outcome: float) -> float:
        """The effect with a confounder of these strengths taken out; NaN where there can be none."""
        found = bias(*self._laws, float(strength_treatment), np.array([float(strength_outcome)]))[0]
        return round(float(self.effect.mean - found), 12)

    @cached_property
    def frontier(self) -> pd.DataFrame:
        """For each strength on the treatment, the strength on the outcome that suffices.

        Columns ``effect`` (brings the effect to 0) and ``interval`` (makes its interval touch 0), interpolated on the
        grid; NaN where no strength on the grid does.
        """
        toward = "low" if self.effect.mean >= 0 else "high"
        names = {"effect": "effect", "interval": toward}
        strengths = self.grid["strength_outcome"].to_numpy()
        columns = {
            column: [_crossing(strengths, row) for row in self.grid[name].to_numpy()] for column, name in names.items()
        }
        index = pd.Index(self.grid["strength_treatment"].to_numpy(), name="strength_treatment")
        return pd.DataFrame(columns, index)

    def to_dataframe(self) -> pd.DataFrame:
        """The grid, a row a pair of strengths."""
        return self.grid.to_dataframe().reset_index()

    def plot(self) -> Chart:
        """Contours of the effect over the two strengths, the observed causes among them."""
        from pcm.figures.contour import contour

        toward = "low" if self.effect.mean >= 0 else "high"
        marked: dict[str, Any] = {"effect 0": 0.0}
        if len(self.effect.draws) > 1:
            marked["interval touches 0"] = (self.grid[toward].to_numpy(), 0.0)
        points = {str(name): (row.iloc[0], row.iloc[1]) for name, row in self.benchmarks.iterrows()}
        scales = self.grid.attrs
        return contour(
            self.grid["strength_treatment"],
            self.grid["strength_outcome"],
            self.grid["effect"].to_numpy(),
            marked=marked,
            points=points,
            xlabel=f"strength on {self.treatment} ({scales['treatment_scale']})",
            ylabel=f"strength on {self.outcome} ({scales['outcome_scale']})",
        )

    def __repr__(self) -> str:
        mean, uncertain = self.effect.mean, self.robustness_value_alpha is not None
        low, high = self.effect.interval(1 - self.alpha)
        interval = f" [{low:.3g}, {high:.3g}]" if uncertain else ""
        part = "to 0" if self.q == 1 else f"down by {100 * self.q:g} %"
        lines = [
            f"Sensitivity of the effect of {self.treatment} on {self.outcome}, {number(mean)}{interval}, to an "
            "unmeasured confounder:",
            f"  it brings the effect {part} by explaining {100 * self.robustness_value:.1f} % of what is left of both "
            f"{self.treatment} and {self.outcome} (robustness value{'' if self.exact else ', approximate'})",
        ]
        if uncertain:
            lines.append(
                f"  and makes its {100 * (1 - self.alpha):g} % interval touch that by explaining "
                f"{100 * (self.robustness_value_alpha or 0):.1f} %"
            )
        if len(self.benchmarks):
            worst = (self.benchmarks["effect"] - mean).abs().fillna(np.inf).idxmax()
            across, up, left = self.benchmarks.loc[worst].to_numpy()
            lines.append(
                f"  as strong as {worst} ({across:.2g} on {self.treatment}, {abs(up):.2g} on {self.outcome}): the "
                f"effect would be {number(left)}"
            )
        return "\n".join(lines)


def sensitivity(
    model: Model,
    treatment: str,
    outcome: str,
    *,
    data: Any = None,
    effect: Effect | None = None,
    treated: Any = 1,
    control: Any = 0,
    q: float = 1.0,
    alpha: float = 0.05,
    df: float | None = None,
    benchmarks: Sequence[str] | None = None,
    strengths: tuple[Sequence[float], Sequence[float]] | None = None,
    draws: int = 2000,
    seed: int | None = None,
) -> Sensitivity:
    """How strong an unmeasured confounder must be to change the effect of ``treatment`` on ``outcome``.

    Parameters
    ----------
    model : Model
    treatment : str
        A Bernoulli or Normal variable.
    outcome : str
        A variable with a real or positive mean, or a Bernoulli.
    data : DataFrame, dict or Arrow table, optional
        The units, every variable; default: units sampled from the model (2,000).
    effect : Effect, optional
        An effect found before; default: :func:`pcm.ate` over ``data``.
    treated, control : any
        The compared values.
    q : float
        Which part of the effect must go for the answer to change.
    alpha : float
        1 − probability of the interval.
    df : float, optional
        Residual degrees of freedom; default: units less the rank of the outcome's mean in the parameters.
    benchmarks : sequence of names, optional
        Observed causes to compare with; default: all of treatment and outcome that the treatment does not move.
    strengths : pair of sequences, optional
        The grid's strengths on treatment and outcome; default: up to what matters.
    draws : int
        Parameter draws of a fitted model.
    seed : int, optional

    Raises
    ------
    QueryError
        A treatment or outcome for which strengths are not defined, or a non-linear outcome with a mediator.
    ArgumentError, UnknownNameError, EvidenceError

    References
    ----------
    Cinelli & Hazlett, JRSS B 2020. Imbens, "Sensitivity to exogeneity assumptions", AER 2003.
    """
    mechanism_site(model, treatment, "treatment")
    mechanism_site(model, outcome, "outcome")
    check_probability(1 - alpha)
    seed = choose_seed(seed)
    if data is None:
        data = sample(model, 2_000, None, seed)
    if effect is None:
        effect = effects.ate(
            model, treatment, outcome, treated=treated, control=control, data=data, draws=draws, seed=seed
        )
    elif not isinstance(effect, Effect) or effect.draws.ndim != 1:
        raise ArgumentError("effect= takes an average effect, as pcm.ate returns it.")
    look = Mechanisms(model, treatment, outcome, data, draws, seed)
    laws = look.laws(code_of(model, treatment, treated), code_of(model, treatment, control))
    value, value_alpha, df = _robustness(effect, look, laws, q, alpha, df)
    observed = look.benchmarks(benchmarks)
    toward = -1.0 if effect.mean < 0 else 1.0
    across, up = _strengths(strengths, laws, observed, effect.mean)
    grid = _grid(effect, laws, across, up, alpha)
    grid.attrs = {"treatment_scale": _SCALES[laws[0].kind], "outcome_scale": _SCALES[laws[1].link]}
    rows = {
        name: (a, toward * b, float(effect.mean - bias(*laws, a, np.array([toward * b]))[0]))
        for name, (a, b) in observed.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["strength_treatment", "strength_outcome", "effect"])
    exact = laws[1].link == "identity" and not look.mediators
    return Sensitivity(treatment, outcome, effect, value, value_alpha, q, alpha, df, exact, grid, table, laws)


# -- private ---------------------------------------------------------------------------------------------------------


def _robustness(
    effect: Effect, look: Mechanisms, laws: tuple[TreatmentLaw, OutcomeLaw], q: float, alpha: float, df: float | None
) -> tuple[float, float | None, float | None]:
    mean, error = float(effect.mean), float(effect.sd)
    if len(effect.draws) > 1 and error > 0:
        df = float(look.units - look.rank()) if df is None else df
        return robustness_value(mean, error, df, q=q), robustness_value(mean, error, df, q=q, alpha=alpha), df
    if not q > 0:
        raise ArgumentError(f"q={q!r}: a positive fraction of the effect is needed.")
    treatment, outcome = laws
    slope = mean / (treatment.treated - treatment.control)  # the law itself: no sampling error
    return robustness_of(q * abs(slope) * math.sqrt(treatment.variance.mean() / outcome.variance)), None, None


def _strengths(
    given: Any, laws: tuple[TreatmentLaw, OutcomeLaw], observed: dict[str, tuple[float, float]], mean: float
) -> tuple[np.ndarray, np.ndarray]:
    if given is not None:
        try:
            across, up = (np.asarray(values, float) for values in given)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"strengths= is a pair of sequences of numbers ({error}).") from None
        if across.ndim != 1 or up.ndim != 1 or not len(across) or not len(up):
            raise ArgumentError("strengths= is a pair of sequences: on the treatment and on the outcome.")
        return across, up
    treatment, outcome = laws
    seen = [max((pair[place] for pair in observed.values()), default=0.0) for place in (0, 1)]
    most = 0.9 * math.sqrt(treatment.variance.min()) if treatment.kind == "mean" else max(2.0, 1.25 * seen[0])
    toward = -1.0 if mean < 0 else 1.0
    limit = math.sqrt(outcome.variance) if outcome.link == "identity" else 3.0
    # as far as it takes at half the strength on the treatment, and as the observed causes reach
    trial = toward * limit * np.linspace(0, 1, 21)
    left = mean - bias(treatment, outcome, most / 2, trial)
    crossing = abs(_crossing(trial, left))
    reach = 1.3 * max(seen[1], 0.0 if math.isnan(crossing) else crossing)
    reach = min(reach, limit) if reach > 0 and not math.isnan(crossing) else limit
    return np.linspace(0, most, _STEPS), toward * np.linspace(0, reach, _STEPS)


def _grid(
    effect: Effect, laws: tuple[TreatmentLaw, OutcomeLaw], across: np.ndarray, up: np.ndarray, alpha: float
) -> xr.Dataset:
    mean = float(effect.mean)
    low, high = effect.interval(1 - alpha)
    shape = (len(across), len(up))
    adjusted, ratio = np.empty(shape), np.empty(shape)
    for place, a in enumerate(across):
        adjusted[place] = mean - bias(*laws, float(a), up)
        ratio[place] = spread_ratio(*laws, float(a), up)
    dims = ("strength_treatment", "strength_outcome")
    return xr.Dataset(
        {
            "effect": (dims, adjusted),
            "low": (dims, adjusted + (low - mean) * ratio),
            "high": (dims, adjusted + (high - mean) * ratio),
        },
        coords={dims[0]: across, dims[1]: up},
    )


def _crossing(places: np.ndarray, values: np.ndarray) -> float:
    """Where values that start on one side of zero first reach it, linearly interpolated; NaN if never."""
    sign = math.copysign(1.0, values[0])
    over = np.flatnonzero(values * sign <= 0)
    if not len(over):
        return math.nan
    here = int(over[0])
    if here == 0:
        return float(places[0])
    before, after = values[here - 1], values[here]
    return float(places[here - 1] + (places[here] - places[here - 1]) * before / (before - after))
