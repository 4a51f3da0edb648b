"""One mechanism against data: the law of its noise, and whether the noise still depends on what the mechanism reads.

Four kinds of check, each a quadratic form of moments (:mod:`pcm.query.criticism.moments`) of the noise ``u``:

==============  ==========================================================================================
``law``         mean of ``psi_1(u) … psi_6(u)`` (Neyman's smooth test of uniformity)
``level``       ``psi_1(u)`` against functions of one input: a dependence of the value that is not in the model
``spread``      ``psi_2(u)`` against them: noise that is wider for some values of the input
``interaction`` ``psi_1(u)`` against products of functions of two inputs, beyond both
==============  ==========================================================================================

With two inputs or more, the mechanism's own prediction counts as one more input (Ramsey's RESET; of a 0/1 outcome, a
smooth Hosmer-Lemeshow test). Outcomes without order have indicators in place of ``psi_1`` and no spread.

References
----------
Neyman (1937), *Skandinavisk Aktuarietidskrift* 20. Ramsey (1969), *Journal of the Royal Statistical Society B* 31.

>>> from pcm.query.criticism.mechanisms import Check
>>> Check("level", "y", "x", p=0.2).holm
1.0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import ndtri

from pcm.query.criticism.features import interaction, smooth
from pcm.query.criticism.moments import Finding, Moments
from pcm.query.criticism.residuals import Noise

__all__ = ["OWN", "Check", "Inputs", "adjusted", "as_row", "check_mechanism"]

#: Name of a mechanism's own prediction among its inputs.
OWN = "its own prediction"

_LAW_DEGREE = 6
_DEGREE = 5
_MOST_COLUMNS = 6
_MOST_PAIRED = 12


@dataclass(frozen=True)
class Check:
    """One test or comparison.

    Attributes
    ----------
    kind : str
        ``law``, ``level``, ``spread``, ``interaction``, ``independence``, ``given parents`` or ``marginal``.
    variable : str
    about : str
        The input, the pair, the independent variable, or the statistic.
    statistic, df, p : float, int, float
    holm : float
        The p-value adjusted for all checks of the model (Holm).
    fails : bool
    words : str
        What a failure says.
    observed, predicted, low, high : float
        Of a predictive check: the statistic in the data, and its mean and central 95 % in replicates.
    """

    kind: str
    variable: str
    about: str = ""
    statistic: float = 0.0
    df: int = 0
    p: float = 1.0
    holm: float = 1.0
    fails: bool = False
    words: str = ""
    observed: float = np.nan
    predicted: float = np.nan
    low: float = np.nan
    high: float = np.nan


def adjusted(checks: Sequence[Check], level: float) -> list[Check]:
    """The checks with p-values adjusted for their number (Holm 1979), and those that fail."""
    order = np.argsort([check.p for check in checks], kind="stable")
    made = list(checks)
    running = 0.0
    for place, which in enumerate(order):
        running = max(running, min(1.0, (len(checks) - place) * checks[which].p))
        made[which] = replace(checks[which], holm=running, fails=running <= level)
    return made


@dataclass(frozen=True)
class Inputs:
    """Observed variables as columns, and which of them are codes without an order."""

    columns: Mapping[str, np.ndarray]
    categorical: frozenset[str]


def check_mechanism(noise: Noise, inputs: Sequence[str], data: Inputs) -> list[Check]:
    """Every check of one mechanism, not yet adjusted for their number.

    Parameters
    ----------
    noise : Noise
    inputs : sequence of str
        What its mechanism reads, deterministic variables replaced by what they are computed from.
    data : Inputs
    """
    return [*_law(noise), *_dependence(noise, inputs, data)]


def _law(noise: Noise) -> list[Check]:
    name = noise.name
    if noise.uniform is None:
        scores, covariance = noise.location()
        found = Moments(np.ones((scores.shape[1], 1)), scores, covariance).test(slice(0, 1))
        words = f"{name}: outcomes are more or less frequent than the mechanism says"
        return [_check("law", name, "probabilities", found, words)]
    made = []
    scores = noise.scores(_LAW_DEGREE)
    columns = scores.shape[2]
    one = np.ones((scores.shape[1], 1))
    for column in range(columns):
        found = Moments(one, scores[:, :, column]).test(slice(0, 1))
        about = f"{noise.family} noise" + (f"[{column}]" if columns > 1 else "")
        words = f"{name}: the noise is not what {noise.family} says: {_shape(noise.uniform[:, :, column])}"
        made.append(_check("law", name, about, found, words))
    return made


def _shape(uniform: np.ndarray) -> str:
    """In words, how noise that should be uniform is not: its largest departure on the normal scale."""
    z = ndtri(uniform.mean(0))
    units = len(z)
    spread = z.std()
    standard = (z - z.mean()) / max(spread, 1e-12)
    departures = {
        "shift": z.mean() * units**0.5,
        "spread": (spread**2 - 1) * (units / 2) ** 0.5,
        "skew": stats.skew(standard) * (units / 6) ** 0.5,
        "tails": stats.kurtosis(standard) * (units / 24) ** 0.5,
    }
    kind = max(departures, key=lambda key: abs(departures[key]))
    if kind == "tails" and abs(departures["skew"]) > 0.5 * abs(departures["tails"]):
        kind = "skew"  # one long tail makes heavy tails too
    up = departures[kind] > 0
    if abs(departures[kind]) < 2:
        return "its shape differs"
    return {
        "shift": "values lie " + ("above" if up else "below") + " the prediction",
        "spread": f"it spreads {spread:.2f} times as much",
        "skew": "it is skewed to the " + ("right" if up else "left"),
        "tails": "its tails are " + ("heavier" if up else "lighter"),
    }[kind]


def _dependence(noise: Noise, inputs: Sequence[str], data: Inputs) -> list[Check]:
    name = noise.name
    bases: dict[str, np.ndarray] = {}
    for read in inputs:
        bases[read] = _basis(data.columns[read], read in data.categorical)
    if len(inputs) > 1 and noise.prediction.shape[1]:
        bases[OWN] = _basis(noise.prediction, False)
    features = {("level", read): basis for read, basis in bases.items()}
    paired = [read for read in inputs if bases[read].shape[1]]
    if len(paired) <= _MOST_PAIRED:
        for place, first in enumerate(paired):
            for second in paired[place + 1 :]:
                features["interaction", f"{first} × {second}"] = interaction(bases[first], bases[second])
    features = {key: basis for key, basis in features.items() if basis.shape[1]}
    if not features:
        return []
    ends = np.cumsum([basis.shape[1] for basis in features.values()])
    parts = {
        key: slice(end - basis.shape[1], end) for (key, basis), end in zip(features.items(), ends.tolist(), strict=True)
    }
    stacked = np.concatenate(list(features.values()), 1)
    scores, covariance = noise.location()
    level = Moments(stacked, scores, covariance)
    made = []
    for (kind, read), part in parts.items():
        found = level.test(part)
        made.append(_check(kind, name, read, found, _words(noise, kind, read, found, data)))
    if noise.uniform is not None:
        wide = {read: part for (kind, read), part in parts.items() if kind == "level"}
        spread = Moments(stacked, noise.scores(2)[..., 1])
        for read, part in wide.items():
            words = f"{name}: the spread of the noise depends on {read}, beyond what the mechanism says"
            made.append(_check("spread", name, read, spread.test(part), words))
    return made


def _basis(array: np.ndarray, categorical: bool) -> np.ndarray:
    return np.concatenate([smooth(column, _DEGREE, categorical) for column in array[:, :_MOST_COLUMNS].T], 1)


def _words(noise: Noise, kind: str, read: str, found: Finding, data: Inputs) -> str:
    if kind == "interaction":
        return f"{noise.name}: mechanism misses an interaction of {read}"
    if read == OWN:
        return f"{noise.name}: mechanism is off where its own prediction is low, middling or high (link or form)"
    linear = read in data.categorical or found.df == 1 or found.first > 0.5
    return f"{noise.name}: mechanism misses a {'' if linear else 'non-linear '}dependence on {read}"


def _check(kind: str, name: str, about: str, found: Finding, words: str) -> Check:
    return Check(kind, name, about, found.statistic, found.df, found.p, words=words)


def as_row(check: Check) -> dict[str, Any]:
    """A check as a row of a table."""
    return {
        "kind": check.kind,
        "variable": check.variable,
        "about": check.about,
        "statistic": check.statistic,
        "df": check.df,
        "p": check.p,
        "p_holm": check.holm,
        "fails": check.fails,
        "observed": check.observed,
        "predicted": check.predicted,
        "low": check.low,
        "high": check.high,
        "words": check.words if check.fails else "",
    }
