"""Firing squad: would the prisoner be dead had rifleman A not shot? Logical equations, one of them nervous.

The court orders the execution (``U``) with probability p, the captain (``C``) signals if it does, riflemen ``A`` and
``B`` shoot on the signal, and A is so nervous (``W``, probability q) that he may shoot without one::

    C = U        A = C or W        B = C        D = A or B

The prisoner is dead and the court had ordered it: had A held his fire, B would still have shot. Knowing only that the
prisoner is dead, P(alive, had A not shot | dead) = (1 − p) q / (1 − (1 − p)(1 − q)).

References
----------
Pearl, *Causality*, 2nd edition, Cambridge 2009, §7.1.2 and §7.1.3.

>>> import pcm
>>> pcm.SCM(program).counterfactual({"U": [1], "W": [0]}, do={"A": 0}).mean("D").tolist()
[1.0]
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch

__all__ = ["NERVOUS", "ORDER", "program", "truth"]

ORDER = 0.6  # p
NERVOUS = 0.25  # q

_dead = 1 - (1 - ORDER) * (1 - NERVOUS)

truth = {
    "D after an order, had A held his fire": (1.0, 0.0, "Causality §7.1.2, sentence S5"),
    "D without an order and W = 1, had A held his fire": (0.0, 0.0, "only A shot"),
    "P(D)": (_dead, 0.0, "1 − (1 − p)(1 − q)"),
    "P(D) had A held his fire": (ORDER, 0.0, "B shoots on the order"),
    "P(not D had A held his fire | D)": ((1 - ORDER) * NERVOUS / _dead, 0.0, "Causality §7.1.3"),
}


def program() -> None:
    """Court order, captain, riflemen and death, each 0 or 1."""
    order = pyro.sample("U", dist.Bernoulli(ORDER))
    nervous = pyro.sample("W", dist.Bernoulli(NERVOUS))
    captain = pyro.deterministic("C", order)
    a = pyro.deterministic("A", torch.maximum(captain, nervous))
    b = pyro.deterministic("B", captain)
    pyro.deterministic("D", torch.maximum(a, b))
