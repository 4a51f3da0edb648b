"""Noise of simulated units that fills the cube evenly: randomised quasi-Monte Carlo, with honest standard errors.

Units come in 20 *nets*, each a Sobol sequence scrambled on its own (Owen 1997; Matoušek 1998 as torch has it). A point
is uniform, so that every average is unbiased; within a net points keep apart, so that averages of smooth functions err
far less than those of independent units. Nets are independent of one another: a standard error is that of their means,
and a jackknife leaves one of them out. Unit ``i`` is in net ``i % 20``; the first units are the first of every net.

>>> even = even_uniforms(2_000, 3, seed=0)
>>> mean, error = mean_and_error((even**2).sum(1))
>>> abs(mean - 1) < 4 * error < 0.003  # of 2,000 independent units: .012
True

References
----------
Owen, "Scrambled net variance for integrals of smooth functions", Annals of Statistics 1997. L'Ecuyer & Lemieux, "Recent
advances in randomized quasi-Monte Carlo methods", 2002.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from pcm.io import row_ids
from pcm.query.model import Model
from pcm.worlds import WorldPlan, world_noise

__all__ = ["NETS", "even_noise", "even_uniforms", "mean_and_error"]

#: Independent nets, coordinates that they have (further ones are plain random), and their resolution in bits.
NETS, _COORDINATES, _BITS = 20, 256, 30


def even_noise(model: Model, units: int, seed: int) -> dict[str, Tensor]:
    """Uniforms by site, ``(*inner, unit, *noise)``, for every site that draws noise under the model's interventions."""
    plan = WorldPlan(model.structure, model.interventions)
    shapes, inner = {}, {}
    for name, value in world_noise(plan, seed, row_ids(pd.RangeIndex(1)), range(1)).items():
        shapes[name] = value.shape[1:]
        inner[name] = len(model.structure.sites[name.rpartition(" -> ")[0] or name].inner)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    made, found, place = torch.from_numpy(even_uniforms(units, sum(sizes.values()), seed)), {}, 0
    for name, shape in shapes.items():
        before, after = shape[: inner[name]], shape[inner[name] + 1 :]
        part = made[:, place : place + sizes[name]].reshape(units, *before, *after)
        found[name], place = part.movedim(0, len(before)).contiguous(), place + sizes[name]
    return found


def even_uniforms(units: int, coordinates: int, seed: int) -> np.ndarray:
    """Points in the open unit cube, ``(unit, coordinate)``; a prefix of more units is the same points."""
    even, each = min(coordinates, _COORDINATES), -(-units // NETS)
    seeds = np.random.SeedSequence(seed).generate_state(NETS + 1)
    nets = [SobolEngine(even, scramble=True, seed=int(s)).draw(each, dtype=torch.float64) for s in seeds[:NETS] if even]
    points = torch.stack(nets, 1).numpy() if even else np.zeros((each, NETS, 0))
    rng = np.random.default_rng(seeds[NETS])
    # within the last bit, which also keeps points away from 0 and 1
    fine = np.clip(rng.random((each, NETS, coordinates)), 1e-9, 1 - 1e-9)
    made = np.concatenate([points + fine[..., :even] / 2**_BITS, fine[..., even:]], -1)
    return made.reshape(each * NETS, coordinates)[:units]


def mean_and_error(values: np.ndarray) -> tuple[float, float | None]:
    """Mean over units ``(unit,)`` and its standard error, that of the nets' means; None of a single unit."""
    if len(values) < 2:
        return float(values.mean()), None
    if len(values) < 2 * NETS:
        return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
    net = np.arange(len(values)) % NETS
    means = np.bincount(net, values) / np.bincount(net)
    return float(values.mean()), float(means.std(ddof=1) / NETS**0.5)
