"""Dosing over time: treatment that follows severity, which follows treatment; linear, so that every plan is algebra.

Severity ``x_t`` of a patient at visits t = 0 … 8, the dose ``d_t`` given there, noises Normal(0, 1)::

    x_0 = 2 + .5 u    d_t = .6 x_t + .3 u    x_{t+1} = .9 x_t − .5 d_t + .4 u

The sicker get more: severity confounds the next dose and mediates the last one, so that no single adjustment is right
for the whole course (treatment–confounder feedback). Under a plan for the doses the g-formula runs the equations
forward: with d_t = b x_t from visit s on, the mean of x_8 is 2 · .6ˢ · (.9 − .5 b)⁸⁻ˢ. The slope of x_1 on d_0 as
observed is −.5 + .9 · .6 · .25 / (.36 · .25 + .09) = .25: the drug looks harmful.

References
----------
Robins, "A new approach to causal inference in mortality studies with a sustained exposure period", *Mathematical
Modelling* 7 (1986). Hernán & Robins, *Causal Inference: What If*, chapters 19–21.

>>> import pcm
>>> stopped = pcm.SCM(program).do({f"d_{t}": 0.0 for t in range(3, VISITS)})
>>> f"{stopped.sample(100_000, seed=0)['x_8'].mean():.2f}, {truth['mean x_8, no dose from visit 3 on'][0]:.2f}"
'0.26, 0.26'
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature

import pyro
import pyro.distributions as dist
from torch import Tensor

__all__ = ["VISITS", "plan", "program", "truth"]

#: Visits at which a dose is given.
VISITS = 8

_KEEP, _DRUG, _SPREAD = 0.9, -0.5, 0.4
_FOLLOW, _WHIM = 0.6, 0.3
_START, _VARIETY = 2.0, 0.5


def _mean(start: int, follow: float) -> float:
    """Mean of the last severity where doses are ``follow · x_t`` from visit ``start`` on."""
    return _START * (_KEEP + _DRUG * _FOLLOW) ** start * (_KEEP + _DRUG * follow) ** (VISITS - start)


_DOSE_VARIANCE = _FOLLOW**2 * _VARIETY**2 + _WHIM**2
_G_FORMULA = "the g-formula: 2 · .6ˢ · (.9 − .5 b)⁸⁻ˢ"

truth = {
    "mean x_8": (_mean(VISITS, 0.0), 0.0, _G_FORMULA),
    "mean x_8, no dose from visit 3 on": (_mean(3, 0.0), 0.0, _G_FORMULA),
    "mean x_8, dose .8 x from visit 3 on": (_mean(3, 0.8), 0.0, _G_FORMULA),
    "effect of d_0 on x_1": (_DRUG, 0.0, "its coefficient"),
    "slope of x_1 on d_0, as observed": (
        _DRUG + _KEEP * _FOLLOW * _VARIETY**2 / _DOSE_VARIANCE,
        0.0,
        "cov(d_0, x_1) / var(d_0)",
    ),
    "effect of d_0 on x_8, later doses as they follow": (
        _DRUG * (_KEEP + _DRUG * _FOLLOW) ** (VISITS - 1),
        0.0,
        "−.5 · (.9 − .5 · .6)⁷",
    ),
    "effect of d_0 on x_8, later doses held": (_DRUG * _KEEP ** (VISITS - 1), 0.0, "−.5 · .9⁷"),
}


def plan(start: int, follow: float) -> dict[str, Callable]:
    """Interventions: from visit ``start`` on the dose is ``follow`` times the severity at that visit."""
    return {f"d_{visit}": _policy(visit, follow) for visit in range(start, VISITS)}


def _policy(visit: int, follow: float) -> Callable:
    name = f"x_{visit}"

    def dose(**read: Tensor) -> Tensor:
        return follow * read[name]

    # a policy reads the variables that its arguments are named after
    dose.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY)])  # type: ignore[attr-defined]
    return dose


def program() -> None:
    """Severity and dose at every visit, severity after the last."""
    x = pyro.sample("x_0", dist.Normal(_START, _VARIETY))
    for t in pyro.markov(range(VISITS)):
        d = pyro.sample(f"d_{t}", dist.Normal(_FOLLOW * x, _WHIM))
        x = pyro.sample(f"x_{t + 1}", dist.Normal(_KEEP * x + _DRUG * d, _SPREAD))
