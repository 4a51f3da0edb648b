"""What finitely many environments, or few rows, leave open: verdicts of the kind *statistical*.

A requirement on an environment is checked among the environments that the model or the data have. If these ``k`` and
a further one are exchangeable, the further one departs more than every one of them with probability at most
``1 / (k + 1)``, and nothing better can be said without more environments or an assumption on how they differ. Where
data give the law, a source's value with few rows says little of how the outcome responds to it, whatever the source is
(a group, an environment, or a variable whose mechanism may be replaced), and a source that does not vary says nothing.
A continuous source is a law over environments that the model itself states.

>>> import networkx as nx, pcm
>>> graph = nx.DiGraph([("site", "x"), ("x", "y"), ("site", "y")])
>>> rows = {"site": [0, 0, 1, 1] * 20, "x": [0.1, 0.4, 0.9, 1.5] * 20, "y": [0.2, 0.1, 1.0, 2.0] * 20}
>>> found = pcm.check(graph, [pcm.environment_invariance("site", outcome="y")], data=rows)
>>> found.conflicts[0].certificate.partition(";")[0]
'site has 2 environments'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pcm.query.model import Model
from pcm.requirement import Requirement
from pcm.scm import SCM
from pcm.trust.conflicts import Conflict
from pcm.worlds import Constant

__all__ = ["finitely_sampled"]

#: Rows below which a group is small, and values up to which a column is one of groups.
_SMALL, _GROUPS = 30, 50


def finitely_sampled(requirements: Sequence[Any], scm: SCM | None, data: Any) -> list[Conflict]:
    """Verdicts on requirements whose sources were sampled at few values, or in few rows."""
    frame = None if data is None else pd.DataFrame(data)
    found: list[Conflict] = []
    for r in requirements:
        if not isinstance(r, Requirement):
            continue
        for name in r.variables:
            counts = None if frame is None else _rows(frame, name)
            words = _environments(r, name, scm._model if scm is not None else None, counts)
            if frame is not None and counts is not None:
                words += _few(frame, name, str(r.outcome), counts, r.tolerance)
            found += [Conflict("statistical", (r,), each) for each in words]
    return found


# -- private ---------------------------------------------------------------------------------------------------------


def _environments(r: Requirement, name: str, model: Model | None, counts: pd.Series | None) -> list[str]:
    """That the environments are finitely many, if they are."""
    if r.role != "environment":
        return []
    if model is not None:
        held = isinstance(model.interventions.get(name), Constant)
        count = 1 if held else model.structure.sites[name].cardinality
    else:
        count = None if counts is None else len(counts)
    if count is None:
        return []
    if count == 1:
        return [f"{name} has 1 environment; nothing shows what another one changes"]
    return [
        f"{name} has {count} environments; the requirement is met among these. A further one, exchangeable with them, "
        f"departs more than every one of them with probability up to 1/{count + 1}"
    ]


def _few(frame: pd.DataFrame, name: str, outcome: str, counts: pd.Series, tolerance: float) -> list[str]:
    """That some group is small, or that there is only one."""
    if len(counts) == 1:
        return [f"{name} is {counts.index[0]} in every row: what a change of it does is not seen"]
    if counts.min() >= _SMALL:
        return []
    value, rows = counts.idxmin(), int(counts.min())
    spread = float(np.std(frame[outcome].to_numpy(dtype=float), ddof=1)) / rows**0.5
    if spread <= tolerance:
        return []
    return [
        f"{name} = {value} in {rows} of {len(frame)} rows: the mean of {outcome} there is known to ± {spread:.2g} "
        f"(one standard error), the tolerance is {tolerance:g}"
    ]


def _rows(frame: pd.DataFrame, name: str) -> pd.Series | None:
    """Rows of each value of a column of groups; None of a continuous one."""
    column = frame[name]
    counts = column.value_counts()
    grouped = len(counts) <= min(_GROUPS, max(1, len(frame) // 2)) and bool((column.dropna() % 1 == 0).all())
    return counts if grouped or len(counts) == 1 else None
