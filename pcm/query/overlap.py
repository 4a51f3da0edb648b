"""Overlap (positivity): which units could hardly have had the other treatment, and how much rests on them.

The propensity is the program's own mechanism of the treatment, ``e_k(i) = P(T = k | pa_i)``, averaged over the
parameter draws of a fit; no second model is fitted. A unit with ``e_k(i)`` below the threshold for a level ``k`` that
is compared is flagged: what it would have done at that level is extrapolated. A continuous treatment has no propensity;
there a level is judged by how far out in the unit's own conditional law it lies, ``2 min(F_i(t), 1 − F_i(t))``.

The effective sample size of an arm is Kish's, ``(Σ w)² / Σ w²`` with ``w = 1/e``.

>>> import pyro, pyro.distributions as dist, pcm
>>> def clinic():
...     age = pyro.sample("age", dist.Normal(0.0, 1.0))
...     plan = pyro.sample("plan", dist.Bernoulli(logits=2 * age))
...     pyro.sample("days", dist.Normal(age - plan, 1.0))
>>> people = {"age": [-2.0, 0.0, 1.0], "plan": [0, 1, 1], "days": [-1.0, 0.5, 0.2]}
>>> found = overlap(pcm.SCM(clinic)._model, "plan", people, outcome="days")
>>> found
Overlap of plan: 1 of 3 units (33.3 %) have a probability under 0.05 of plan = 1 or 0.
  effective sample size: plan = 1: 1.9 of 2; plan = 0: 1 of 1
  effect on days: −1 over all units, −1 where they overlap; 33.3 % of it rests on the flagged units
>>> found.flagged.tolist()
[0]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.errors import ArgumentError, QueryError
from pcm.figures.numerals import number
from pcm.notebook import Shown
from pcm.query.counterfactual import counterfactual
from pcm.query.mechanisms import at_mechanisms, code_of, mechanism_site, parents_in
from pcm.query.model import Model
from pcm.worlds import choose_seed

if TYPE_CHECKING:
    from pcm.figures.chart import Chart

__all__ = ["Overlap", "overlap"]

#: Units that a continuous treatment's marginal law is averaged over.
_MOST_COMPONENTS = 1_000


@dataclass(frozen=True, eq=False)
class Overlap(Shown):
    """Where the compared treatments overlap and where not.

    Attributes
    ----------
    treatment : str
    levels : tuple
        The compared values, in the user's labels.
    continuous : bool
    threshold : float
    probability : pandas.DataFrame, [unit, level]
        Propensity of each level; of a continuous treatment the two-sided tail probability of the level.
    distance : pandas.DataFrame or None, [unit, level]
        Of a continuous treatment: how far the level lies from the unit's conditional mean, in standard deviations.
    observed : numpy.ndarray or None
        The unit's own level (a position in ``levels``, −1 for another), or value of a continuous treatment.
    sizes : pandas.DataFrame
        A row an arm: ``units`` and ``effective`` sample size; one row for a continuous treatment.
    effects : pandas.Series or None
        Each unit's effect of the first level against the last, where an outcome was named.
    outcome : str or None
    """

    treatment: str
    levels: tuple[Any, ...]
    continuous: bool
    threshold: float
    probability: pd.DataFrame
    distance: pd.DataFrame | None
    observed: np.ndarray | None
    sizes: pd.DataFrame
    effects: pd.Series | None = None
    outcome: str | None = None

    @property
    def mask(self) -> np.ndarray:
        """Whether each unit is flagged, ``[unit]``."""
        return np.asarray((self.probability.to_numpy() < self.threshold).any(1))

    @property
    def flagged(self) -> pd.Index:
        """Names of the units without overlap."""
        return self.probability.index[self.mask]

    @property
    def effect(self) -> float | None:
        """The average effect over all units."""
        return None if self.effects is None else float(self.effects.mean())

    @property
    def effect_in_overlap(self) -> float | None:
        """The average effect over the units that are not flagged; NaN where all are."""
        if self.effects is None:
            return None
        kept = self.effects.to_numpy()[~self.mask]
        return float(kept.mean()) if len(kept) else float("nan")

    @property
    def share(self) -> float | None:
        """The part of the average effect that the flagged units contribute, ``Σ_flagged τ_i / Σ τ_i``.

        NaN where the effects sum to nothing; outside [0, 1] where their signs differ.
        """
        if self.effects is None:
            return None
        effects = self.effects.to_numpy()
        total = effects.sum()
        return float(effects[self.mask].sum() / total) if abs(total) > 1e-12 * np.abs(effects).sum() else float("nan")

    def to_dataframe(self) -> pd.DataFrame:
        """A row a unit: probability (and distance) of each level, whether it is flagged, its effect."""
        names = [f"P({self.treatment} = {level})" for level in self.levels]
        if self.continuous:
            names = [f"tail beyond {level}" for level in self.levels]
        frame = self.probability.set_axis(names, axis=1)
        if self.distance is not None:
            frame = frame.join(self.distance.set_axis([f"distance of {level}, sd" for level in self.levels], axis=1))
        frame["flagged"] = self.mask
        if self.effects is not None:
            frame[f"effect on {self.outcome}"] = self.effects.to_numpy()
        return frame

    def plot(self) -> Chart:
        """Histograms of the propensity of the first level, a row an arm; of distances, a row a level."""
        from pcm.figures.overlap import overlap as picture

        if self.distance is not None:
            rows = {f"to {level}": self.distance[level] for level in self.levels}
            return picture(rows, xlabel=f"distance from the unit's conditional mean of {self.treatment}, sd")
        score = self.probability.iloc[:, 0].to_numpy()
        limits = (self.threshold, 1 - self.threshold if len(self.levels) == 2 else None)
        if self.observed is None:
            rows = {"all units": score}
        else:
            rows = {
                f"{self.treatment} = {level}": score[self.observed == place] for place, level in enumerate(self.levels)
            }
        return picture(rows, limits=limits, xlabel=f"P({self.treatment} = {self.levels[0]})")

    def __repr__(self) -> str:
        count, units = int(self.mask.sum()), len(self.probability)
        levels = " or ".join(map(str, self.levels))
        share = f"{count} of {units:,} units ({100 * count / units:.1f} %)"
        if self.continuous:
            what = f"{share} have {self.treatment} = {levels} in the outer {self.threshold:g} of their own law."
        else:
            what = f"{share} have a probability under {self.threshold:g} of {self.treatment} = {levels}."
        lines = [f"Overlap of {self.treatment}: {what}"]
        if len(self.sizes):
            arms = "; ".join(
                f"{arm}: {_short(size)} of {units:,}"
                for arm, units, size in zip(self.sizes.index, self.sizes["units"], self.sizes["effective"], strict=True)
            )
            lines.append(f"  effective sample size: {arms}")
        if self.effects is not None:
            rest = self.share
            words = (
                ""
                if rest is None or not np.isfinite(rest)
                else f"; {100 * rest:.1f} % of it rests on the flagged units"
            )
            lines.append(
                f"  effect on {self.outcome}: {number(self.effect)} over all units, {number(self.effect_in_overlap)} "
                f"where they overlap{words}"
            )
        return "\n".join(lines)

    def _table(self) -> pd.DataFrame:
        return self.to_dataframe().loc[self.mask]


def overlap(
    model: Model,
    treatment: str,
    data: Any,
    *,
    outcome: str | None = None,
    treated: Any = None,
    control: Any = None,
    threshold: float = 0.05,
    draws: int = 500,
    seed: int | None = None,
) -> Overlap:
    """Which units could hardly have had the compared treatments, and how much of the effect rests on them.

    Parameters
    ----------
    model : Model
    treatment : str
        A variable with a distribution.
    data : DataFrame, dict or Arrow table
        The units: what the treatment's mechanism reads; the treatment itself (for effective sample sizes) and, with an
        ``outcome``, every variable.
    outcome : str, optional
        Also say how much of the average effect of ``treated`` against ``control`` rests on the flagged units.
    treated, control : any
        The compared values. Default: 1 and 0; every category of a categorical treatment.
    threshold : float
        A unit is flagged where a compared value has a smaller probability (or lies farther out) than this.
    draws : int
        Parameter draws of a fitted model.
    seed : int, optional

    Raises
    ------
    QueryError
        The treatment has no mechanism of one number a unit.
    ArgumentError, UnknownNameError, EvidenceError

    References
    ----------
    Rosenbaum & Rubin, Biometrika 1983. Crump, Hotz, Imbens & Mitnik, Biometrika 2009. Kish, *Survey Sampling*, 1965.
    """
    mechanism_site(model, treatment, "treatment")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 0.5:
        raise ArgumentError(f"threshold={threshold!r}: a probability between 0 and 0.5 is needed.")
    seed = choose_seed(seed)
    site = model.structure.sites[treatment]
    levels = _levels(model, treatment, treated, control)
    codes = [code_of(model, treatment, level) for level in levels]
    values, index = parents_in(model, data, [treatment])
    parameters = model.parameters(draws, seed, prior=False)
    own = values.get(treatment)

    def read(fns: dict[str, Any]) -> dict[str, Tensor]:
        fn = fns[treatment]
        return _mass(fn, codes, site.dtype) if site.discrete else _tails(fn, codes, own, len(index))

    lanes = at_mechanisms(model, values, len(index), parameters, [treatment], read)
    found = {key: value.mean(0).expand(*value.shape[1:-1], len(index)).numpy() for key, value in lanes.items()}
    if not all(np.isfinite(array).all() for array in found.values()):
        raise QueryError(f"the mechanism of '{treatment}' gives no finite probability for some unit.")
    names = pd.Index(levels, dtype=object, name=treatment)
    distance = pd.DataFrame(found["distance"].T, index, names) if "distance" in found else None
    probability = pd.DataFrame(found["probability"].T, index, names)
    observed = None if own is None else own.numpy()
    if site.discrete:
        sizes, observed = _arm_sizes(probability, observed, codes, treatment)
    else:
        sizes = _weighted_size(found, len(index))
    effects = None
    if outcome is not None:
        effects = _effects(model, treatment, outcome, data, (levels[0], levels[-1]), draws, seed)
    return Overlap(
        treatment, levels, not site.discrete, threshold, probability, distance, observed, sizes, effects, outcome
    )


def _levels(model: Model, treatment: str, treated: Any, control: Any) -> tuple[Any, ...]:
    site, labels = model.structure.sites[treatment], model.categories.get(treatment)
    if (treated is None) != (control is None):
        raise ArgumentError("give both treated= and control=, or neither.")
    if treated is not None:
        if treated == control:
            raise ArgumentError(f"treated= and control= are both {treated!r}; there is nothing to compare.")
        return treated, control
    if site.cardinality is not None and site.cardinality > 2:
        return tuple(labels) if labels is not None else tuple(range(site.cardinality))
    return (labels[1], labels[0]) if labels is not None and len(labels) == 2 else (1, 0)


def _mass(fn: Any, codes: Sequence[float], dtype: torch.dtype) -> dict[str, Tensor]:
    """Probability of each level, ``(level, unit)``."""
    rows = [torch.atleast_1d(fn.log_prob(torch.tensor(code, dtype=dtype)).exp()) for code in codes]
    return {"probability": torch.stack(torch.broadcast_tensors(*rows))}


def _tails(fn: Any, codes: Sequence[float], own: Tensor | None, units: int) -> dict[str, Tensor]:
    """Two-sided tail probability and standardised distance of each level, ``(level, unit)``; a stabilised weight."""
    mean, spread = fn.mean.expand(units), fn.stddev.expand(units)
    levels = torch.tensor(codes, dtype=mean.dtype)[:, None]
    distance = (levels - mean).abs() / spread
    try:
        below = fn.cdf(levels.expand(len(codes), units))
        tail = 2 * torch.minimum(below, 1 - below)
    except NotImplementedError:  # judged as if it were Normal
        tail = torch.special.erfc(distance / 2**0.5)
    out = {"probability": tail, "distance": distance}
    if own is not None:
        step = max(1, -(-units // _MOST_COMPONENTS))
        # law of the treatment over all units: a mixture of theirs, at each unit's own value
        whole = fn.expand((units,)).log_prob(own[::step, None]).logsumexp(-1) - np.log(units)
        out["weight"] = (whole - fn.log_prob(own).expand(units)[::step]).exp().expand(1, -1)
    return out


def _arm_sizes(
    probability: pd.DataFrame, observed: np.ndarray | None, codes: Sequence[float], treatment: str
) -> tuple[pd.DataFrame, np.ndarray | None]:
    if observed is None:
        return pd.DataFrame(columns=["units", "effective"]), None
    place = np.full(len(observed), -1)
    rows = {}
    for position, (code, level) in enumerate(zip(codes, probability.columns, strict=True)):
        member = observed == code
        place[member] = position
        weight = 1 / np.maximum(probability[level].to_numpy()[member], 1e-300)
        rows[f"{treatment} = {level}"] = (int(member.sum()), _kish(weight))
    return _sizes(rows), place


def _weighted_size(found: dict[str, np.ndarray], units: int) -> pd.DataFrame:
    if "weight" not in found:
        return _sizes({})
    weight = found["weight"][0]
    return _sizes({"all units": (units, _kish(weight) * units / len(weight))})


def _sizes(rows: dict[str, tuple[int, float]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index", columns=["units", "effective"])


def _kish(weight: np.ndarray) -> float:
    """Kish's effective sample size; weights are scaled first so that large ones do not overflow."""
    if not len(weight):
        return 0.0
    weight = weight / weight.max()
    return float(weight.sum() ** 2 / (weight**2).sum())


def _effects(
    model: Model, treatment: str, outcome: str, data: Any, levels: tuple[Any, Any], draws: int, seed: int
) -> pd.Series:
    mechanism_site(model, outcome, "outcome")
    worlds = {"treated": {treatment: levels[0]}, "control": {treatment: levels[1]}}
    arms = counterfactual(model, data, worlds=worlds, draws=draws, seed=seed)
    return pd.Series(arms.mean(outcome, "treated") - arms.mean(outcome, "control"), arms.index, name=outcome)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"
