"""Private clinic: laboratory values with Laplace noise, and a dose that seems to prolong the stay it shortens.

Sicker patients get more of a drug and stay longer; the laboratory value is the confounder, and leaves the hospital
only with Laplace noise of scale 1 (bounds ±4, ε = 8)::

    lab ~ N(0, 1)      dose ~ N(.8 lab, .6²)      stay ~ N(lab − .5 dose, .5²)      noisy = lab + Laplace(1)

A unit of dose changes the stay by −.5. Least squares of the stay on dose and *noisy* value finds +.178: var(dose) = 1,
var(noisy) = 1 + 2, cov(dose, noisy) = .8, cov(stay, dose) = .3 and cov(stay, noisy) = .6 give the coefficient
(3 · .3 − .8 · .6) / (3 − .64).

References
----------
Carroll, Ruppert, Stefanski & Crainiceanu, *Measurement Error in Nonlinear Models*, 2nd edition, 2006, chapter 3. The
numbers here are made up.

>>> import pcm
>>> print(f"{float(pcm.ate(pcm.SCM(program), 'dose', 'stay', seed=0)):.3f}")
-0.500
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist

from pcm import private

__all__ = ["clinic", "mechanism", "program", "truth"]

mechanism = private.Laplace(scale=1.0, bounds=(-4, 4), clip=True)

truth = {
    "ATE of dose on stay": (-0.5, 0.0, "its coefficient"),
    "least squares with the noisy value": (0.42 / 2.36, 1e-3, "moments; clipping moves them by less than 1e-3"),
}


def program() -> None:
    """The clinic at its true parameters, with the noisy value."""
    lab = pyro.sample("lab", dist.Normal(0.0, 1.0))
    private.observe("noisy", lab, mechanism)
    dose = pyro.sample("dose", dist.Normal(0.8 * lab, 0.6))
    pyro.sample("stay", dist.Normal(1.0 * lab - 0.5 * dose, 0.5))


def clinic(n: int) -> None:
    """The same patients with unknown coefficients: to be fitted to releases."""
    normal, positive = dist.Normal(0.0, 2.0), dist.HalfNormal(2.0)
    habit, need, effect = (pyro.sample(name, normal) for name in ("habit", "need", "effect"))
    spread, doses, stays = (pyro.sample(name, positive) for name in ("spread", "doses", "stays"))
    with pyro.plate("units", n):
        lab = pyro.sample("lab", dist.Normal(0.0, spread.expand(n)))
        dose = pyro.sample("dose", dist.Normal(habit * lab, doses))
        pyro.sample("stay", dist.Normal(need * lab + effect * dose, stays))
