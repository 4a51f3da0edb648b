"""Hospital readmission: fairness and robustness pull on one laboratory value; what each requirement costs.

A protected attribute ``A`` and the hospital ``E`` both move the laboratory value ``X``; ``Z`` is a record of care,
``Y`` the risk of readmission; noises U ~ Normal(0, 1)::

    A, E ~ Normal(0, 1)    X = .8 A + E + U    Z = A + U    Y = X + .6 Z + .7 A + .5 E + U

Fairness keeps the medical path A → X → Y of the attribute and no other. Robustness keeps E → Y, closing E → X → Y.
There are two readings of the hospital:

as drawn (``program``)
    X itself differs between hospitals and is a cause of Y: closing E → X → Y costs 1 everywhere.
measurement artifact (``artifact``)
    X = X_true + E is what the hospital's machine shows, and the unrecorded X_true is the cause of Y: who knows A and E
    reads X_true off X, and robustness is free.

``binary`` is the first reading with Y ~ Bernoulli(logits = the same sum).

With independent draws of A and E as references (mean 0), the faithful predictor for both requirements is
Y − 1.3 A − E − U, hence the price 1.3² + 1² = 2.69 above the best risk 1. Other rows of the table are sums of the same
kind.

References
----------
Binkyte et al., "Trustworthy AI suffers from invariance conflicts and causality is the solution", arXiv 2605.02640,
Appendix A. The coefficients are this package's.

>>> import pcm
>>> round(float(pcm.check(pcm.SCM(program), [fair, robust]).price), 6), round(truth["price of both"][0], 6)
(2.69, 2.69)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import pyro.distributions as dist

from pcm.requirement import Requirement, environment_invariance, path_specific_fairness

if TYPE_CHECKING:
    from pcm.report import Report

__all__ = ["artifact", "binary", "fair", "fair_artifact", "program", "robust", "tell", "truth"]

fair: Requirement = path_specific_fairness("A", outcome="Y", admissible=["A -> X -> Y"])
robust: Requirement = environment_invariance("E", outcome="Y", admissible=["E -> Y"])
#: Fairness in the reading as an artifact, where the medical path goes through the true value.
fair_artifact: Requirement = path_specific_fairness("A", outcome="Y", admissible=["A -> X_true -> Y"])


def tell(report: Report) -> str:
    """Check both requirements on both readings, add it to a report; the answers, as a table for a terminal."""
    import pcm
    from pcm.report import Picture

    drawn: Any = pcm.check(pcm.SCM(program), [fair, robust])
    shown: Any = pcm.check(pcm.SCM(artifact), [fair_artifact, robust], inputs=["A", "E", "X", "Z"])
    report.section(
        "Hospital readmission",
        "A predictor of readmission may respond to the attribute `A` along A → X → Y alone (fairness), and to the "
        f"hospital `E` not through the laboratory value (robustness). Both together cost **{drawn.price.mean:.2f}** in "
        f"mean squared error; where the hospital only distorts what its machine shows, **{shown.price.mean:.2f}**: "
        "there robustness is free.",
        Picture(drawn.draw(), "Admissible edges green, inadmissible ones red, those that are both amber."),
        drawn.table.rename_axis("predictor"),
        Picture(drawn.plot(), "Price: mean squared error above the best predictor's."),
    )
    lines = "Hospital readmission: fairness in A, robustness against E (Binkyte et al. 2026, Appendix A)"
    words = f"Measured with an artifact of the hospital, both together cost {shown.price.mean:.2f}: robustness is free."
    return f"{lines}\n\n{drawn!r}\n\n{words}"


def _binary_price(order: int = 60) -> float:
    """Squared-error price of both requirements for the binary outcome, by Gauss–Hermite quadrature.

    The best predictor is σ(m + d), the faithful one E σ(m + d′): ``m`` is what both requirements keep,
    ``d = 1.3 A + E`` what they close, ``d′`` an independent draw of it; m and d are jointly Gaussian.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    weights = weights / weights.sum()
    kept, closed, shared = 0.8**2 + 1 + 0.6**2 + 0.5**2, 1.3**2 + 1, 0.8 * 1.3 + 0.5
    m = kept**0.5 * nodes[:, None]
    d = shared / kept * m + (closed - shared**2 / kept) ** 0.5 * nodes
    faithful = _sigmoid(m + closed**0.5 * nodes) @ weights
    return float(weights @ (_sigmoid(m + d) - faithful[:, None]) ** 2 @ weights)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


_SUM = "squares of the coefficients of what is left over"
_RULE = "Gaussian conditioning, by hand"

truth = {
    "MSE, Bayes": (1.0, 0.0, "var U"),
    "MSE, unaware": (1 + 0.7**2 / 2.64, 0.0, "A given X − E and Z has precision 1 + .8² + 1"),
    "effect of A, unaware": (1.4 + 0.7 * 1.64 / 2.64, 0.0, _RULE),
    "MSE, uniform in A": (1 + 2.1**2, 0.0, _SUM),
    "MSE, fair": (1 + 1.3**2, 0.0, _SUM),
    "effect of A, fair": (0.8, 0.0, "the coefficient along A → X → Y"),
    "MSE, fair, observational optimum": (1 + 1.3**2 / 1.64, 0.0, "A given X − E has precision 1 + .8²"),
    "effect of A, fair, observational optimum": (0.8 * (1 + 1.3 * 0.8 / 1.64), 0.0, _RULE),
    "MSE, robust": (2.0, 0.0, _SUM),
    "MSE, both": (1 + 1.3**2 + 1, 0.0, _SUM),
    "price of both": (1.3**2 + 1, 0.0, _SUM),
    "MSE, both, E hidden": (3.315, 0.0, "1.3² + .75² + .25² + 1: E given E + U is half of it"),
    "effect of E, both, E hidden": (0.75, 0.0, _RULE),
    "MSE, both matched, E hidden": (3.94, 0.0, "1.3² + 1² + .5² + 1"),
    "MSE, uniform in A and E": (1 + 2.1**2 + 1.5**2, 0.0, _SUM),
    "shadow price of fair": (2.6, 0.0, "slope of (1.3 + t)² at 0"),
    "shadow price of robust": (2.0, 0.0, "slope of (1 + t)² at 0"),
    "shadow price of uniform in A": (4.2, 0.0, "slope of (2.1 + t)² at 0"),
    "shadow price of uniform in E": (3.0, 0.0, "slope of (1.5 + t)² at 0"),
    "MSE, both, artifact": (1 + 1.3**2, 0.0, "robustness is free"),
    "price of both, binary outcome": (_binary_price(), 1e-9, "Gauss–Hermite quadrature in two dimensions"),
}


def program() -> None:
    """As drawn: the laboratory value differs between hospitals."""
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    e = pyro.sample("E", dist.Normal(0.0, 1.0))
    x = pyro.sample("X", dist.Normal(0.8 * a + e, 1.0))
    z = pyro.sample("Z", dist.Normal(a, 1.0))
    pyro.sample("Y", dist.Normal(x + 0.6 * z + 0.7 * a + 0.5 * e, 1.0))


def artifact() -> None:
    """A measurement artifact: the hospital moves what is recorded, not what it is a record of."""
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    e = pyro.sample("E", dist.Normal(0.0, 1.0))
    true = pyro.sample("X_true", dist.Normal(0.8 * a, 1.0))
    pyro.deterministic("X", true + e)
    z = pyro.sample("Z", dist.Normal(a, 1.0))
    pyro.sample("Y", dist.Normal(true + 0.6 * z + 0.7 * a + 0.5 * e, 1.0))


def binary() -> None:
    """As drawn, with readmission as an event."""
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    e = pyro.sample("E", dist.Normal(0.0, 1.0))
    x = pyro.sample("X", dist.Normal(0.8 * a + e, 1.0))
    z = pyro.sample("Z", dist.Normal(a, 1.0))
    pyro.sample("Y", dist.Bernoulli(logits=x + 0.6 * z + 0.7 * a + 0.5 * e))
