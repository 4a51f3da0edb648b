"""Encouragement: does a student's score rise with the homework done? Three linear equations.

An after-school programme encourages pupils (``X``) to do homework (``H``) before an exam (``Y``), all standardised::

    X = U_X        H = 0.5 X + U_H        Y = 0.7 X + 0.4 H + U_Y        U independent

Joe was encouraged X = 0.5, did homework H = 1 and scored Y = 1.5. His noise is then U_H = 0.75 and U_Y = 0.75, and had
he doubled his homework he would have scored 0.7 · 0.5 + 0.4 · 2 + 0.75 = 1.90.

References
----------
Pearl, Glymour & Jewell, *Causal Inference in Statistics: A Primer*, Wiley 2016, §4.2.3, figure 4.1.

>>> import pcm
>>> joe = pcm.SCM(program).counterfactual(evidence, do={"H": 2.0})
>>> print(f"{joe.mean('Y')[0]:.2f}")
1.90
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist

__all__ = ["evidence", "program", "truth"]

evidence = {"X": [0.5], "H": [1.0], "Y": [1.5]}

truth = {
    "Y of Joe, had H been 2": (1.90, 0.0, "Primer §4.2.3"),
    "H of Joe, had X been 0": (0.75, 0.0, "his own U_H"),
    "Y of Joe, had X been 0": (1.05, 0.0, "0.4 · 0.75 + 0.75"),
    "ATE of X on Y": (0.9, 0.0, "0.7 + 0.5 · 0.4"),
    "ATE of H on Y": (0.4, 0.0, "its coefficient"),
}


def program() -> None:
    """Encouragement ``X``, homework ``H`` and score ``Y``, each in standard deviations."""
    x = pyro.sample("X", dist.Normal(0.0, 1.0))
    h = pyro.sample("H", dist.Normal(0.5 * x, 1.0))
    pyro.sample("Y", dist.Normal(0.7 * x + 0.4 * h, 1.0))
