"""How strong an omitted variable must be to change a regression's answer: closed forms of Cinelli & Hazlett (2020).

For the coefficient of ``D`` in a regression of ``Y`` on ``D`` and ``X`` from which ``Z`` was left out::

    |bias| = se √df √(R²_{Y~Z|D,X} R²_{D~Z|X} / (1 − R²_{D~Z|X}))
    RV     = ½ (√(f⁴ + 4f²) − f²),    f = q |t| / √df

The *robustness value* is the partial R² that ``Z`` must have with both ``D`` and ``Y`` to take a fraction ``q`` of the
estimate away; with ``alpha``, to make its interval touch what is then left.

>>> round(robustness_value(0.09731582, 0.02325654, 783), 5)  # direct harm on attitudes to peace in Darfur
0.13878
>>> round(robustness_value(0.09731582, 0.02325654, 783, alpha=0.05), 5)
0.07626

References
----------
Cinelli & Hazlett, "Making sense of sensitivity: extending omitted variable bias", JRSS B 82 (2020), 39–67.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pcm.errors import ArgumentError

__all__ = ["Adjusted", "adjusted", "benchmark_strength", "robustness_of", "robustness_value"]


class Adjusted(NamedTuple):
    """An estimate as it would be had the omitted variable been in the regression, and its standard error."""

    estimate: float
    se: float


def robustness_value(estimate: float, se: float, df: float, *, q: float = 1.0, alpha: float | None = None) -> float:
    """Partial R² of an omitted variable with treatment and outcome that takes a fraction ``q`` of the estimate away.

    Parameters
    ----------
    estimate, se : float
    df : float
        Residual degrees of freedom of the regression.
    q : float
        1: all of it.
    alpha : float, optional
        Ask for the strength at which the two-sided interval at this level touches what is left.

    Returns
    -------
    float
        In [0, 1); 0 where the interval touches already.

    Raises
    ------
    ArgumentError
        A standard error or degrees of freedom that are not positive, ``q`` or ``alpha`` out of range.
    """
    if not (se > 0 and math.isfinite(estimate)):
        raise ArgumentError(f"estimate={estimate!r}, se={se!r}: a finite estimate and a positive error are needed.")
    if not df > 1:
        raise ArgumentError(f"df={df!r}: more than one degree of freedom is needed.")
    if not q > 0:
        raise ArgumentError(f"q={q!r}: a positive fraction of the estimate is needed.")
    f = q * abs(estimate / se) / math.sqrt(df)
    if alpha is not None:
        if not 0 < alpha < 1:
            raise ArgumentError(f"alpha={alpha!r}: a level between 0 and 1 is needed.")
        from scipy import stats

        f -= float(stats.t.ppf(1 - alpha / 2, df - 1)) / math.sqrt(df - 1)
    return robustness_of(max(f, 0.0))


def robustness_of(f: float) -> float:
    """The robustness value of a partial Cohen's f, ``½ (√(f⁴ + 4f²) − f²)``.

    >>> robustness_of(0.0), round(robustness_of(1e6), 6)
    (0.0, 1.0)
    """
    # the same without cancellation where f is large
    return 2 * f / (math.sqrt(f * f + 4) + f) if f > 0 else 0.0


def adjusted(estimate: float, se: float, df: float, *, r2_treatment: float, r2_outcome: float) -> Adjusted:
    """The estimate with an omitted variable of this strength accounted for, drawn towards zero.

    Parameters
    ----------
    r2_treatment : float
        Partial R² of the omitted variable with the treatment given the covariates, in [0, 1).
    r2_outcome : float
        With the outcome given treatment and covariates, in [0, 1].

    Examples
    --------
    >>> adjusted(0.09731582, 0.02325654, 783, r2_treatment=0.00916429, r2_outcome=0.12464092)
    Adjusted(estimate=0.0752202..., se=0.0218733...)
    """
    if not 0 <= r2_treatment < 1 or not 0 <= r2_outcome <= 1:
        raise ArgumentError(f"partial R² are between 0 and 1; found {r2_treatment!r} and {r2_outcome!r}.")
    bias = se * math.sqrt(df * r2_outcome * r2_treatment / (1 - r2_treatment))
    error = se * math.sqrt((1 - r2_outcome) / (1 - r2_treatment) * df / (df - 1))
    return Adjusted(estimate - math.copysign(bias, estimate), error)


def benchmark_strength(
    r2_treatment: float, r2_outcome: float, *, times_treatment: float = 1.0, times_outcome: float | None = None
) -> tuple[float, float]:
    """Bounds on the partial R² of a confounder so many times as strong as an observed covariate.

    Parameters
    ----------
    r2_treatment, r2_outcome : float
        Partial R² of the covariate with the treatment (given the others) and the outcome (given treatment and others).
    times_treatment, times_outcome : float
        How many times as strongly the confounder is tied to the treatment and the outcome (the same, by default).

    Returns
    -------
    (float, float)
        With treatment and outcome; the second is cut at 1.

    Raises
    ------
    ArgumentError
        So strong a confounder would explain more of the treatment than there is.
    """
    times_outcome = times_treatment if times_outcome is None else times_outcome
    with_treatment = times_treatment * r2_treatment / (1 - r2_treatment)
    shared = times_treatment * r2_treatment**2 / ((1 - times_treatment * r2_treatment) * (1 - r2_treatment))
    if not (0 <= with_treatment < 1 and 0 <= shared < 1):
        raise ArgumentError(
            f"a confounder {times_treatment:g} times as strong as a covariate with partial R² {r2_treatment:g} would "
            "explain more of the treatment than is left; ask for a weaker one."
        )
    factor = (math.sqrt(times_outcome) + math.sqrt(shared)) / math.sqrt(1 - shared)
    return with_treatment, min(factor**2 * r2_outcome / (1 - r2_outcome), 1.0)
