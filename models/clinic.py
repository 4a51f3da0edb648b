"""Clinic: age and site, laboratory values, a care plan, readmission; continuous, binary and categorical together.

The package's running example (no data behind it)::

    age ~ Normal(0, 1)      site ~ Bernoulli(.4)      labs ~ Normal(.8 age + .5 site, .5)
    plan ~ Categorical(logits = 0, age, −age)
    readmit ~ Bernoulli(logit = 1.2 labs − .4 [plan = 1] + .3 age + .7 site)

The truths below integrate the model numerically (Gauss–Hermite over age and the noise of labs, sums over site and
plan); a counterfactual of ``readmit`` is, under the monotone coupling, P(y' = 1 | y = 1) = min(p, p') / p and
P(y' = 1 | y = 0) = max(p' − p, 0) / (1 − p).

References
----------
Made for this package. Closed form: Tian & Pearl, "Probabilities of causation: bounds and identification", 2000, for a
monotone outcome.

>>> import pcm
>>> sorted(pcm.SCM(program).graph.predecessors("readmit"))
['age', 'labs', 'plan', 'site']
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch

__all__ = ["categories", "evidence", "program", "truth"]

categories = {"plan": ("none", "basic", "full")}

evidence = {
    "age": [0.3, -1.0],
    "site": [1.0, 0.0],
    "labs": [1.4, -0.2],
    "plan": [1, 2],
    "readmit": [1.0, 0.0],
}

_INTEGRAL, _CLOSED = "Gauss–Hermite quadrature, 80 × 80 nodes", "closed form of the monotone coupling"

truth = {
    "P(readmit)": (0.5658657866438918, 0.0, _INTEGRAL),
    "P(readmit | do(labs = 0))": (0.5314198735931, 0.0, _INTEGRAL),
    "ATE of labs on readmit": (0.2512373087771349, 0.0, _INTEGRAL),
    "ATE of site on readmit": (0.2325350955714684, 0.0, _INTEGRAL),
    "ATE of plan basic on readmit": (-0.06905080644891193, 0.0, _INTEGRAL + "; against plan none"),
    "P(readmit) of the first, had labs been 0": (0.6715250978247435, 0.0, _CLOSED),
    "P(readmit) of the second, had labs been 1": (0.5425058304318924, 0.0, _CLOSED),
}


def program() -> None:
    """Standardised age and laboratory values, site 0 or 1, plan (code in :data:`categories`), readmission 0 or 1."""
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    site = pyro.sample("site", dist.Bernoulli(0.4))
    labs = pyro.sample("labs", dist.Normal(0.8 * age + 0.5 * site, 0.5))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0.0 * age, age, -age], -1)))
    pyro.sample("readmit", dist.Bernoulli(logits=1.2 * labs - 0.4 * (plan == 1) + 0.3 * age + 0.7 * site))
