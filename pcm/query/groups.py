"""Groups of units by the values of variables: categories as they are, numbers in quantile bins.

>>> from pcm.query.groups import groups_of
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.arguments import check_count
from pcm.query.model import Model

__all__ = ["groups_of"]

DISTINCT = 20


def groups_of(model: Model, columns: dict[str, Tensor], bins: int) -> tuple[pd.Index, list[Tensor]]:
    """Labels of the groups, and for each who is in it: bool ``(unit)`` or ``(lane, unit)``."""
    check_count(bins, "bins")
    parts: list[pd.Series] = []
    shape = torch.broadcast_shapes(*(value.shape for value in columns.values()))
    for name, value in columns.items():
        flat = value.expand(shape).reshape(-1).numpy()
        labels = model.categories.get(name)
        distinct = np.unique(flat)
        if labels is not None:
            made = pd.Series(pd.Categorical.from_codes(flat.astype(int), list(labels)), name=name)
        elif len(distinct) <= DISTINCT:
            made = pd.Series(pd.Categorical(flat, categories=distinct, ordered=True), name=name)
        else:
            made = pd.Series(_binned(flat, bins), name=name)
        parts.append(made)
    frame = pd.concat(parts, axis=1)
    codes = frame.groupby(list(columns), observed=True, sort=True).ngroup().to_numpy().copy()
    keys: list[Any] = [key for key, _ in frame.groupby(list(columns), observed=True, sort=True)]
    index = (
        pd.Index([key[0] for key in keys], name=next(iter(columns)))
        if len(columns) == 1
        else pd.MultiIndex.from_tuples(keys, names=list(columns))
    )
    members = torch.from_numpy(codes).reshape(shape)
    return index, [members == code for code in range(len(keys))]


def _binned(values: np.ndarray, bins: int) -> pd.Categorical:
    """Quantile bins, named by the least and greatest value in each."""
    codes = np.asarray(pd.qcut(values, bins, labels=False, duplicates="drop"), dtype=int)
    names = [
        f"{values[codes == code].min():.4g} to {values[codes == code].max():.4g}" for code in range(codes.max() + 1)
    ]
    return pd.Categorical.from_codes(codes, names, ordered=True)
