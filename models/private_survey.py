"""Private survey: randomised response on a treatment and on a confounder, which plain adjustment gets wrong.

People are asked whether they were ever arrested (``arrest``, the confounder) and whether they use a drug (``use``, the
treatment); both answers pass randomised response at ε = 1, kept with probability e/(1 + e) = .731. The harm is on
record::

    arrest ~ B(.4)      use ~ B(.2 + .5 arrest)      harm ~ B(.1 + .2 use + .4 arrest)

The effect of use on harm is .2. Adjusting with answers in the place of values gives less where the treatment is noised
(attenuation) and *more* where the confounder is: noise there leaves confounding in.

References
----------
Warner, "Randomized response: a survey technique for eliminating evasive answer bias", JASA 60(309), 1965. Pearl,
"On measurement bias in causal inference", UAI 2010. The numbers here are made up; the biases follow by enumeration.

>>> import pcm
>>> scm = pcm.SCM(program)
>>> print(f"{float(pcm.ate(scm, 'use', 'harm', seed=0)):.3f}")
0.200
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist

from pcm import private

__all__ = ["mechanism", "program", "survey", "truth"]

mechanism = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])

truth = {
    "ATE of use on harm": (0.2, 0.0, "its coefficient"),
    "adjusted for answers, treatment noised": (0.070599, 1e-6, "enumeration"),
    "adjusted for answers, confounder noised": (0.365868, 1e-6, "enumeration"),
    "adjusted for answers, both noised": (0.157221, 1e-6, "enumeration"),
}


def program() -> None:
    """The survey at its true parameters, with both answers."""
    arrest = pyro.sample("arrest", dist.Bernoulli(0.4))
    use = pyro.sample("use", dist.Bernoulli(0.2 + 0.5 * arrest))
    private.observe("said_arrest", arrest, mechanism)
    private.observe("said_use", use, mechanism)
    pyro.sample("harm", dist.Bernoulli(0.1 + 0.2 * use + 0.4 * arrest))


def survey(n: int) -> None:
    """The same people with unknown chances: to be fitted to answers, true values or releases."""
    uniform = dist.Beta(1.0, 1.0)
    arrested, use_if_not, use_if = (pyro.sample(name, uniform) for name in ("arrested", "use_if_not", "use_if"))
    chances = [pyro.sample(f"harm_{cell}", uniform) for cell in ("00", "01", "10", "11")]  # use, arrest
    with pyro.plate("units", n):
        arrest = pyro.sample("arrest", dist.Bernoulli(arrested.expand(n)))
        use = pyro.sample("use", dist.Bernoulli(use_if_not + (use_if - use_if_not) * arrest))
        unused = chances[0] + (chances[1] - chances[0]) * arrest
        used = chances[2] + (chances[3] - chances[2]) * arrest
        pyro.sample("harm", dist.Bernoulli(unused + (used - unused) * use))
