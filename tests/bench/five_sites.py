"""The bench's model: five linear sites and a Bernoulli outcome; ``do(x2 := 1)`` for every unit; the answers by algebra.

    x1 = .3 + u1,  x2 = .8 x1 + u2,  x3 = -.3 x1 + .5 x2 + u3,  x4 = .6 x3 + u4,
    x5 = .4 x2 - .2 x3 + .7 x4 + u5,  y ~ Bernoulli(logits = .9 x5 - .4 x3)

Every unit's evidence is complete. Asked are the counterfactual x3, x4, x5, which are the observed values plus fixed
multiples of ``1 - x2``, and ``P(y' = 1 | evidence)``: ``min(1, q / p)`` for a unit with ``y = 1`` and
``max(0, q - p) / (1 - p)`` for one with ``y = 0``, ``p`` and ``q`` being the probability of 1 before and after.

>>> seen = evidence(3)
>>> bool((residuals(seen)[0] - shifts(seen)[0]).abs().max() < 1e-14)
True
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "ASKED",
    "SETTING",
    "SITES",
    "error",
    "evidence",
    "frame",
    "in_place",
    "program",
    "residuals",
    "shifts",
    "tensors",
    "truth",
]

SITES = ("x1", "x2", "x3", "x4", "x5", "y")
ASKED = ("x3", "x4", "x5", "y")
SETTING = 1.0
_BLOCK = 1 << 14


def program() -> None:
    x1 = pyro.sample("x1", dist.Normal(0.3, 1.0))
    x2 = pyro.sample("x2", dist.Normal(0.8 * x1, 0.7))
    x3 = pyro.sample("x3", dist.Normal(-0.3 * x1 + 0.5 * x2, 0.9))
    x4 = pyro.sample("x4", dist.Normal(0.6 * x3, 0.5))
    x5 = pyro.sample("x5", dist.Normal(0.4 * x2 - 0.2 * x3 + 0.7 * x4, 1.1))
    pyro.sample("y", dist.Bernoulli(logits=0.9 * x5 - 0.4 * x3))


# -- data --------------------------------------------------------------------------------------------------------------


def evidence(units: int, seed: int = 0) -> dict[str, Tensor]:
    """Units drawn from the model, float64 ``[unit]`` each; made in blocks, so that peak memory is the data's."""
    rng = np.random.default_rng(seed)
    seen = {name: np.empty(units) for name in SITES}
    for start in range(0, units, _BLOCK):
        part = slice(start, min(start + _BLOCK, units))
        u, v = rng.standard_normal((5, part.stop - start)), rng.random(part.stop - start)
        x1 = 0.3 + u[0]
        x2 = 0.8 * x1 + 0.7 * u[1]
        x3 = -0.3 * x1 + 0.5 * x2 + 0.9 * u[2]
        x4 = 0.6 * x3 + 0.5 * u[3]
        x5 = 0.4 * x2 - 0.2 * x3 + 0.7 * x4 + 1.1 * u[4]
        y = v < 1 / (1 + np.exp(0.4 * x3 - 0.9 * x5))
        for name, values in zip(SITES, (x1, x2, x3, x4, x5, y), strict=True):
            seen[name][part] = values
    return {name: torch.from_numpy(values) for name, values in seen.items()}


def frame(units: int, seed: int = 0) -> pd.DataFrame:
    """The same units as a DataFrame, a column a variable."""
    return pd.DataFrame({name: value.numpy() for name, value in evidence(units, seed).items()}, copy=False)


def tensors(table: pd.DataFrame) -> dict[str, Tensor]:
    """A frame's columns as tensors; a copy, because pandas lends its memory read-only."""
    return {name: torch.from_numpy(table[name].to_numpy(copy=True)) for name in SITES}


# -- the answers, by hand ----------------------------------------------------------------------------------------------


def residuals(seen: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Hand-written torch, as the equations stand: abduct each residual, act, predict. Returns what ``ASKED`` names."""
    x1, x2, x3, x4, x5, y = (seen[name] for name in SITES)
    u3 = x3 - (-0.3 * x1 + 0.5 * x2)
    u4 = x4 - 0.6 * x3
    u5 = x5 - (0.4 * x2 - 0.2 * x3 + 0.7 * x4)
    new3 = (-0.3 * x1 + 0.5 * SETTING) + u3
    new4 = 0.6 * new3 + u4
    new5 = (0.4 * SETTING - 0.2 * new3 + 0.7 * new4) + u5
    return new3, new4, new5, _chance(0.9 * x5 - 0.4 * x3, 0.9 * new5 - 0.4 * new3, y)


def in_place(seen: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The same by someone who counts passes and buffers: every sum fused with its factor, one buffer an answer."""
    x1, x2, x3, x4, x5, y = (seen[name] for name in SITES)
    u3 = torch.add(x3, x1, alpha=0.3).sub_(x2, alpha=0.5)
    u4 = torch.sub(x4, x3, alpha=0.6)
    u5 = torch.sub(x5, x2, alpha=0.4).add_(x3, alpha=0.2).sub_(x4, alpha=0.7)
    new3 = u3.sub_(x1, alpha=0.3).add_(0.5 * SETTING)
    new4 = u4.add_(new3, alpha=0.6)
    new5 = u5.add_(0.4 * SETTING).sub_(new3, alpha=0.2).add_(new4, alpha=0.7)
    before, after = torch.mul(x5, 0.9).sub_(x3, alpha=0.4), torch.mul(new5, 0.9).sub_(new3, alpha=0.4)
    return new3, new4, new5, _chance(before, after, y)


def shifts(seen: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The fewest passes for this model alone: everything is linear, so only differences travel, in place."""
    _, x2, x3, x4, x5, y = (seen[name] for name in SITES)
    by2 = SETTING - x2
    by3 = 0.5 * by2
    by4 = 0.6 * by3
    by5 = by2.mul_(0.4).sub_(by3, alpha=0.2).add_(by4, alpha=0.7)
    before = (0.9 * x5).sub_(x3, alpha=0.4)
    after = torch.add(before, by5, alpha=0.9).sub_(by3, alpha=0.4)
    return by3.add_(x3), by4.add_(x4), by5.add_(x5), _chance(before, after, y)


def _chance(before: Tensor, after: Tensor, y: Tensor) -> Tensor:
    """``P(y' = 1 | y)``; overwrites both log odds."""
    # lerp picks by y in a tenth of the time of where, whose branch the processor cannot predict
    p, q = before.sigmoid_(), after.sigmoid_()
    stay = (q / p).clamp_(max=1.0)
    gain = q.sub_(p).clamp_(min=0.0).div_(p.neg_().add_(1.0))
    return torch.lerp(gain, stay, y)


def truth(seen: dict[str, Tensor]) -> dict[str, NDArray[Any]]:
    """The answers by algebra in extended precision: the total effects of x2 on x3, x4, x5 are .5, .3 and .51."""
    x = {name: value.numpy().astype(np.longdouble) for name, value in seen.items()}
    two, three, four, five, six, seven, nine = (np.longdouble(k) / 10 for k in (2, 3, 4, 5, 6, 7, 9))
    shift = np.longdouble(SETTING) - x["x2"]
    to3, to4 = five, six * five
    to5 = four - two * to3 + seven * to4
    before = nine * x["x5"] - four * x["x3"]
    after = before + (nine * to5 - four * to3) * shift
    p, q = 1 / (1 + np.exp(-before)), 1 / (1 + np.exp(-after))
    chance = np.where(x["y"] > 0.5, np.minimum(1, q / p), np.maximum(0, q - p) / (1 - p))
    assert abs(to4 - three) < 1e-15
    return {"x3": x["x3"] + to3 * shift, "x4": x["x4"] + to4 * shift, "x5": x["x5"] + to5 * shift, "y": chance}


def error(answers: Sequence[Any], seen: dict[str, Tensor]) -> float:
    """Largest absolute error over units and answers; fewer answers than ``ASKED`` are its first ones."""
    known = truth(seen)
    pairs = zip(ASKED, answers, strict=False)
    return max(float(np.abs(np.asarray(found).reshape(-1) - known[name]).max()) for name, found in pairs)
