"""How well what units lack was inferred, a row a unit.

>>> from pcm.query.diagnostics import diagnostics_of
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pcm.query.runs import Runs

__all__ = ["diagnostics_of"]


def diagnostics_of(run: Runs) -> pd.DataFrame:
    """Missing sites, method, ess, k-hat and flag of every unit; see :attr:`pcm.Counterfactual.diagnostics`."""
    units = run.units
    count = sum((mask.numpy().astype(int) for mask in run.missing.values()), np.zeros(units, dtype=int))
    intervals = sum((mask.numpy().astype(int) for mask in run.between.units.values()), np.zeros(units, dtype=int))
    columns: dict[str, Any] = {"missing": count, "intervals": intervals}
    if run.latent is None:
        columns |= {"method": "none", "ess": np.inf, "khat": 0.0, "flagged": False}
    else:
        found = run.latent
        columns["missing"] = count - sum(mask.numpy().astype(int) for mask in found.space.carried.values())
        open_ = sum((mask.numpy() for mask in found.space.inferred.values()), np.zeros(units, dtype=bool))
        names = np.where(open_, found.rung, "none").astype(object)
        columns |= {"method": names, "ess": found.ess, "khat": found.khat, "flagged": found.flagged}
    return pd.DataFrame(columns, index=run.index)
