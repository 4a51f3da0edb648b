"""Evidence of private noise: which columns may stand for a noisy site, read out of their types.

A site that is the answer of a private mechanism takes a release of that very mechanism, or values declared public.
A plain column there is refused: whether it is a real answer, a simulated one or the true value, it does not say.

>>> from pcm.query.model import Model
>>> from pcm.program import Program
>>> import pyro, pyro.distributions as dist
>>> def coin():
...     pyro.sample("x", dist.Bernoulli(0.5))
>>> read_reports(Model(Program(coin)), {"x": [0, 1]}, "evidence")
{'x': [0, 1]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pcm.couplings import Reported
from pcm.errors import EvidenceError
from pcm.query.model import Model

__all__ = ["read_reports"]


def read_reports(model: Model, data: Any, what: str) -> Any:
    """The data with releases and public values as plain columns of the program's numbers.

    Raises
    ------
    EvidenceError
        A plain column or simulated noise for a noisy site; a release of another mechanism, or of a site that is not
        noisy.
    """
    if model.plain:
        return data
    if isinstance(data, pd.DataFrame):
        _check_cells(data, what)
    noised = {name: site.mechanism for name, site in model.structure.sites.items() if site.mechanism is not None}
    typed = {}
    if isinstance(data, Mapping):
        typed = {name: value for name, value in data.items() if isinstance(value, Reported)}
    if not noised and not typed:
        return data
    names = getattr(data, "column_names", data)
    for name, mechanism in noised.items():
        if name in names and name not in typed:
            raise EvidenceError(
                f"'{name}' is private noise ({mechanism!r}), and the {what} have a plain column for it: give the "
                f"Release that the mechanism made, in a dict {{**frame, '{name}': release}}, or say that the values "
                f"are public: private.public(values). Without '{name}' it is latent.",
                column=name,
            )
    if not typed:
        return data
    columns = dict(data)
    for name, value in typed.items():
        _check(name, value, noised.get(name), name in model.structure.sites, what)
        labels = model.categories.get(name)
        cells = value.codes()
        if labels is not None and value.mechanism is not None:
            cells = [labels[code] for code in cells]
        columns[name] = pd.Series(cells, index=value.index)
    return columns


def _check_cells(data: pd.DataFrame, what: str) -> None:
    """A frame takes a typed column for one object and repeats it in every cell."""
    for name in data.columns[[dtype.kind == "O" for dtype in data.dtypes]]:
        cells = data[name]
        if len(cells) and isinstance(cells, pd.Series) and isinstance(cells.iloc[0], Reported):
            raise EvidenceError(
                f"column '{name}' of the {what} holds {cells.iloc[0]!r} in every cell: a frame keeps no typed column. "
                f"Put it into a dict: {{**frame, '{name}': release}}.",
                column=name,
            )


def _check(name: str, value: Reported, mechanism: Any, known: bool, what: str) -> None:
    if not value.evidence:
        raise EvidenceError(
            f"column '{name}' of the {what} is simulated noise, which is no evidence: give a Release, or declare the "
            "values public: private.public(simulated).",
            column=name,
        )
    if value.mechanism is None or not known:
        return
    if mechanism is None:
        raise EvidenceError(
            f"column '{name}' of the {what} is a release, and this question does not add a noisy child to a program: "
            f"write it there, private.observe('…', {name}, mechanism).",
            column=name,
        )
    if value.mechanism != mechanism:
        raise EvidenceError(
            f"'{name}' is private noise by {mechanism!r}, and the release came through {value.mechanism!r}: the two "
            "must be the same mechanism.",
            column=name,
        )
