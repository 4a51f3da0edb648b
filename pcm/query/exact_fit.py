"""A fit that runs away: a column that the program reproduces exactly pulls its spread to zero.

Where all values of a continuous column equal what its mechanism predicts (a constant column, a copy of another one, an
exact formula, a single row), the likelihood grows without bound as the scale shrinks: ``-log scale`` for every row.
The search is stopped when the mean log density says that the scale has fallen below 1e-8 of the column's own spread,
and the error names the column and the parameter.

>>> import pcm, pyro, pyro.distributions as dist
>>> def level(n):
...     middle, scale = pyro.sample("middle", dist.Normal(0.0, 5.0)), pyro.sample("scale", dist.HalfCauchy(1.0))
...     with pyro.plate("units", n):
...         pyro.sample("y", dist.Normal(middle, scale))
>>> try:
...     pcm.SCM(level).fit({"y": [1.5, 1.5, 1.5]})
... except pcm.PCMError as error:
...     print(error)
column 'y' is constant (1.5 in all 3 rows), which the program reproduces exactly: its likelihood grows without bound, \
and the parameter 'scale' has no finite estimate. Drop the column from the program, or fix it with given(scale=…).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.distributions import constraints

from pcm.errors import FitError

if TYPE_CHECKING:
    from pcm.query.model import Model

__all__ = ["Watch"]

#: A scale below this share of the column's spread is no noise.
LEAST = 1e-8


class Evaluated(Protocol):
    """A log density as a sum over sites, which remembers the sites' parts."""

    found: dict[str, Tensor]

    def total(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Evaluate at these parameters."""
        ...


class Watch:
    """Looks at the sites' log densities during a search, and raises when one runs away.

    Parameters
    ----------
    model : Model
    known : dict of name to tensor ``(*inner, unit, *event)``
        The data.
    rows : int
    found : dict of name to scalar
        Log densities of the sites at the start; one that is beyond the limit there has a small scale on purpose.
    """

    def __init__(self, model: Model, known: Mapping[str, Tensor], rows: int, found: Mapping[str, Tensor]) -> None:
        self.model, self.known, self.rows = model, known, rows
        sites = model.structure.sites
        self.limits = {
            name: known[name].numel() * -math.log(LEAST * _spread(known[name]))
            for name, term in found.items()
            if name in sites and not sites[name].discrete and term.requires_grad
        }
        self.limits = {name: limit for name, limit in self.limits.items() if float(found[name].detach()) < limit}

    def look(self, terms: Evaluated, parameters: Mapping[str, Tensor]) -> None:
        """Raise :class:`FitError` where a site's log density at these parameters is beyond any noise, and still rises.

        Parameters
        ----------
        terms : Evaluated
            Just evaluated at ``parameters``; is evaluated again near them where a site is beyond the limit.
        """
        found = dict(terms.found)
        for name, limit in self.limits.items():
            term = found.get(name)
            if term is None or torch._C._functorch.is_batchedtensor(term):  # type: ignore[attr-defined]
                continue
            if float(term.detach()) > limit:
                blamed = self._rising(name, float(term.detach()), terms, parameters)
                if blamed is not None:
                    raise self._error(name, blamed)

    def _rising(self, name: str, here: float, terms: Evaluated, parameters: Mapping[str, Tensor]) -> str | None:
        """The parameter that the site's density rises with as with a shrinking scale: by so much for every row."""
        gains: dict[str, float] = {}
        with torch.no_grad():
            for free, value in parameters.items():
                if free not in self.model.structure.parameters:
                    continue
                positive = isinstance(self.model.structure.parameters[free].support, _POSITIVE)
                for step in (-0.5, 0.5):
                    terms.total({**parameters, free: value * math.exp(step) if positive else value + step})
                    gains[free] = max(gains.get(free, 0.0), float(terms.found[name]) - here)
        best = max(gains, key=gains.__getitem__, default=None)
        return best if best is not None and gains[best] > 0.1 * self.known[name].numel() else None

    def _error(self, name: str, blamed: str) -> FitError:
        return FitError(
            f"column '{name}' {self._words(name)}: its likelihood grows without bound, and the parameter '{blamed}' "
            f"has no finite estimate. {self._remedy(name)}, or fix it with given({blamed}=…).",
            column=name,
            site=name,
            parameters=[blamed],
        )

    def _remedy(self, name: str) -> str:
        if self.rows == 1:
            return "Give more rows"
        constant = bool((self.known[name] == self.known[name].flatten()[0]).all())
        return "Drop the column from the program" if constant else "Write it as a pyro.deterministic site"

    def _words(self, name: str) -> str:
        """Why it is reproduced exactly, as far as the data shows it."""
        values = self.known[name]
        if self.rows == 1:
            return "has a single row, which the program reproduces exactly"
        if bool((values == values.flatten()[0]).all()):
            constant = values.flatten()[0].item()
            return f"is constant ({constant:g} in all {self.rows} rows), which the program reproduces exactly"
        for other, column in self.known.items():
            if other != name and column.shape == values.shape and bool((column == values).all()):
                return f"repeats the column '{other}' in all {self.rows} rows, and the program reproduces it exactly"
        return f"is reproduced exactly by the program in all {self.rows} rows (to {LEAST:g} of its spread)"


_POSITIVE = (type(constraints.positive), type(constraints.nonnegative))


def _spread(values: Tensor) -> float:
    """Standard deviation of a column; of a constant one its size, or 1."""
    values = values.detach().to(torch.float64)
    centre = float(values.mean().abs())
    deviation = float(values.std(correction=0))
    return deviation if deviation > 1e-12 * centre else centre or 1.0
