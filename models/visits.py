"""Visits within patients: a plate inside a unit; linear and Gaussian, so that what is hidden is algebra.

A patient's ``frailty`` is never measured. Treatment ``drug`` is given or not, and at each of three visits (an inner
plate at dim −2) a symptom score and, from it, the pain are recorded, noises Normal(0, 1)::

    frailty = u    drug ~ Bernoulli(.5)    score_v = frailty + c_v − .8 drug + .5 u_v    pain_v = 1.5 score_v + .3 u_v

The three scores are three measurements of one frailty: given them it is Normal with precision 1 + 3 / .25. A patient
whose scores are lost is known by the pain: each visit's score has the law of a Gaussian given a Gaussian.

References
----------
Made for this package. Gelman & Hill, *Data Analysis Using Regression and Multilevel/Hierarchical Models*, Cambridge
2007, chapter 12 (units within units).

>>> import pcm
>>> seen = {name: value for name, value in evidence.items() if name != "frailty"}
>>> cf = pcm.SCM(program).counterfactual(seen, do={"drug": 0})
>>> f"{cf.mean('frailty', 'factual')[0]:.4f}, {truth['frailty, given three scores'][0]:.4f}"
'0.9846, 0.9846'
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch

__all__ = ["evidence", "program", "truth"]

_COURSE = (0.0, 0.2, 0.4)
_DRUG, _NOISE, _PAIN, _PAIN_NOISE = -0.8, 0.5, 1.5, 0.3

#: One patient, drug given.
evidence = {"drug": [1.0], "score": [[0.3, 0.5, 0.6]], "pain": [[0.5, 0.7, 1.0]]}

_RESIDUALS = [value - course - _DRUG for value, course in zip(evidence["score"][0], _COURSE, strict=True)]
_PRECISION = 1 + len(_COURSE) / _NOISE**2

# without the scores, pain_v / 1.5 measures frailty + course + drug with this variance
_SPREAD = _NOISE**2 + (_PAIN_NOISE / _PAIN) ** 2
_FROM_PAIN = [value / _PAIN - course - _DRUG for value, course in zip(evidence["pain"][0], _COURSE, strict=True)]
_LESS = 1 + len(_COURSE) / _SPREAD
_RULE = "Gaussian conditioning, by hand"

truth = {
    "frailty, given three scores": (sum(_RESIDUALS) / _NOISE**2 / _PRECISION, 0.0, _RULE),
    "sd of frailty, given three scores": (_PRECISION**-0.5, 0.0, _RULE),
    "frailty, given the pain alone": (sum(_FROM_PAIN) / _SPREAD / _LESS, 0.0, _RULE),
    "sd of frailty, given the pain alone": (_LESS**-0.5, 0.0, _RULE),
    "effect of the drug on pain at every visit": (_PAIN * _DRUG, 0.0, "1.5 · −.8"),
}


def program() -> None:
    """Frailty and drug of a patient, score and pain at each visit."""
    frailty = pyro.sample("frailty", dist.Normal(0.0, 1.0))
    drug = pyro.sample("drug", dist.Bernoulli(0.5))
    course = torch.tensor(_COURSE)[:, None]
    with pyro.plate("visits", len(_COURSE), dim=-2):
        score = pyro.sample("score", dist.Normal(frailty + course + _DRUG * drug, _NOISE))
        pyro.sample("pain", dist.Normal(_PAIN * score, _PAIN_NOISE))
