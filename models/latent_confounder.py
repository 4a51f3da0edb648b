"""Latent confounder: linear and Gaussian, so that with any column unobserved every answer is algebra.

``A`` and ``E`` are the causes, ``X`` and ``Z`` lie between them and the outcome ``Y``, noises U ~ Normal(0, 1)::

    A, E ~ Normal(0, 1)    X = .8 A + .5 E + .5 U    Z = −.7 A + .4 U    Y = 1.2 X + .9 Z + .3 A + .6 E + .7 U

With one cause ``h`` hidden, what each column says of it is a measurement ``r = b h + s U`` (a residual, its slope and
its noise), so that h given the unit's evidence is Gaussian with

    precision = 1 + Σ b² / s²        mean = Σ b r / s²  /  precision

Setting the hidden cause to h′ moves the outcome by its total effect times h′ − h, so the answer spreads as h does,
times that effect. Setting ``X`` moves ``Y`` by 1.2 a unit whatever is hidden.

References
----------
Made for this package. The update of a Gaussian by Gaussian measurements: Bishop, *Pattern Recognition and Machine
Learning*, Springer 2006, §2.3.3.

>>> import pcm
>>> hidden = {name: value for name, value in evidence.items() if name != "A"}
>>> cf = pcm.SCM(program).counterfactual(hidden, do={"A": 0.0})
>>> f"{cf.mean('Y')[0]:.4f}, {truth['Y, had A been 0; A hidden'][0]:.4f}"
'0.0204, 0.0204'
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist

__all__ = ["evidence", "program", "truth"]

evidence = {"A": [1.0], "E": [-0.4], "X": [1.1], "Z": [-0.9], "Y": [0.8]}

_A, _E, _X, _Z, _Y = (values[0] for values in evidence.values())


def _posterior(*measurements: tuple[float, float, float]) -> tuple[float, float]:
    """Mean and standard deviation of a standard normal given (residual, slope, noise) triples."""
    precision = 1 + sum(slope**2 / noise**2 for _, slope, noise in measurements)
    return sum(slope * residual / noise**2 for residual, slope, noise in measurements) / precision, precision**-0.5


_A_MEAN, _A_SD = _posterior((_X - 0.5 * _E, 0.8, 0.5), (_Z, -0.7, 0.4), (_Y - 1.2 * _X - 0.9 * _Z - 0.6 * _E, 0.3, 0.7))
_E_MEAN, _E_SD = _posterior((_X - 0.8 * _A, 0.5, 0.5), (_Y - 1.2 * _X - 0.9 * _Z - 0.3 * _A, 0.6, 0.7))
_A_ON_Y = 0.3 + 1.2 * 0.8 - 0.9 * 0.7
_E_ON_Y = 0.6 + 1.2 * 0.5
_RULE = "Gaussian conditioning, by hand"

truth = {
    "ATE of A on Y": (_A_ON_Y, 0.0, ".3 + 1.2 · .8 − .9 · .7"),
    "ATE of E on Y": (_E_ON_Y, 0.0, ".6 + 1.2 · .5"),
    "ATE of X on Y": (1.2, 0.0, "its coefficient"),
    "slope of Y on X, as observed": (1.404 / 1.14, 0.0, "cov(X, Y) / var(X)"),
    "A; A hidden": (_A_MEAN, 0.0, _RULE),
    "sd of A; A hidden": (_A_SD, 0.0, _RULE),
    "E; E hidden": (_E_MEAN, 0.0, _RULE),
    "sd of E; E hidden": (_E_SD, 0.0, _RULE),
    "Y, had A been 0": (_Y - _A_ON_Y * _A, 0.0, "the unit's own noise"),
    "Y, had A been 0; A hidden": (_Y - _A_ON_Y * _A_MEAN, 0.0, _RULE),
    "sd of Y, had A been 0; A hidden": (_A_ON_Y * _A_SD, 0.0, _RULE),
    "Y, had E been 0; E hidden": (_Y - _E_ON_Y * _E_MEAN, 0.0, _RULE),
    "sd of Y, had E been 0; E hidden": (_E_ON_Y * _E_SD, 0.0, _RULE),
    "Y, had X been 0; A hidden": (_Y - 1.2 * _X, 0.0, "X reaches Y directly alone"),
}


def program() -> None:
    """Causes ``A`` and ``E``, intermediates ``X`` and ``Z``, outcome ``Y``."""
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    e = pyro.sample("E", dist.Normal(0.0, 1.0))
    x = pyro.sample("X", dist.Normal(0.8 * a + 0.5 * e, 0.5))
    z = pyro.sample("Z", dist.Normal(-0.7 * a, 0.4))
    pyro.sample("Y", dist.Normal(1.2 * x + 0.9 * z + 0.3 * a + 0.6 * e, 0.7))
