"""From holes in the evidence to the posterior of what is missing.

First everything missing is inferred together: where that posterior is Gaussian (or finite), answers are analytic (or
enumerated). Elsewhere sites that nothing observed depends on are set apart and drawn from their mechanisms.

>>> from pcm.query.missing import infer_missing
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from pcm.errors import FitWarning, listed
from pcm.infer.latent import LatentPosterior, Space, infer_latent
from pcm.infer.latent.space import MAX_CONFIGURATIONS
from pcm.io import row_ids
from pcm.worlds import world_noise

if TYPE_CHECKING:
    from pcm.query.runs import Runs

__all__ = ["barren_noise", "infer_missing"]

#: Coordinates up to which everything missing is first tried together.
WIDTH = 40


def infer_missing(run: Runs, values: Mapping[str, Tensor], draws: int) -> LatentPosterior:
    """The posterior of the missing values of every unit, under every parameter draw."""
    sites = run.structure.sites
    fitted = len(next(iter(run.parameters.values()))) if run.parameters else 1
    draws = fitted if fitted > 1 else draws
    together = all(
        sites[name].cardinality is not None and not sites[name].inner and (sites[name].scalar or sites[name].one_hot)
        for name in run.missing
        if sites[name].discrete
    )
    counts = [sites[name].cardinality or 1 for name in run.missing if sites[name].discrete]
    found = None
    if together and math.prod(counts) <= MAX_CONFIGURATIONS:
        space = Space(run.program, run.base, values, run.missing, run.units, split=False)
        if space.width <= WIDTH:
            found = infer_latent(
                space, run.parameters, fitted, draws=draws, seed=run.seed, rows=row_ids(run.index), gaussian_only=True
            )
    if found is None:
        space = Space(run.program, run.base, values, run.missing, run.units)
        found = infer_latent(space, run.parameters, fitted, draws=draws, seed=run.seed, rows=row_ids(run.index))
    assert found is not None  # only gaussian_only gives up
    bad = found.flagged
    if bad.any():
        names = [run.index[int(row)] for row in bad.nonzero()[0][:5]]
        warnings.warn(
            f"the missing values of {int(bad.sum())} of {run.units} units could not be inferred reliably (Pareto "
            f"k-hat above 0.7; first: {listed(names)}): see .diagnostics, and do not trust their answers.",
            FitWarning,
            stacklevel=4,
        )
    return found


def barren_noise(run: Runs) -> Callable[[range], dict[str, Tensor]] | None:
    """Uniforms of the sites that nothing observed depends on, by draw; None where there are none."""
    if run.latent is None:
        return None
    names = [name for name, mask in run.latent.space.barren.items() if bool(mask.any())]
    if not names:
        return None
    return lambda draws: world_noise(run.base, run.seed, run.rows, draws, names)
