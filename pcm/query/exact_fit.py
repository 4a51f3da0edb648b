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
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import constraints

from pcm.errors import FitError, listed

if TYPE_CHECKING:
    from pcm.query.model import Model

__all__ = ["Watch"]

#: A scale below this share of the column's spread is no noise.
LEAST = 1e-8


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

    def look(self, found: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
        """Raise :class:`FitError` where a site's log density at these parameters is beyond any noise."""
        for name, limit in self.limits.items():
            term = found.get(name)
            if term is None or torch._C._functorch.is_batchedtensor(term):  # type: ignore[attr-defined]
                continue
            if float(term.detach()) > limit:
                raise self._error(name, term, parameters)

    def _error(self, name: str, term: Tensor, parameters: Mapping[str, Tensor]) -> FitError:
        blamed = self._blamed(term, parameters)
        one = f"the parameter '{blamed[0]}' has" if len(blamed) == 1 else f"the parameters {listed(blamed)} have"
        fix = f"fix it with given({blamed[0]}=…)" if len(blamed) == 1 else "fix its scale with given(…)"
        return FitError(
            f"column '{name}' {self._words(name)}: its likelihood grows without bound, and {one} no finite estimate. "
            f"{self._remedy(name)}, or {fix}.",
            column=name,
            site=name,
            parameters=blamed,
        )

    def _remedy(self, name: str) -> str:
        if self.rows == 1:
            return "Give more rows"
        constant = bool((self.known[name] == self.known[name].flatten()[0]).all())
        return "Drop the column from the program" if constant else "Write it as a pyro.deterministic site"

    def _blamed(self, term: Tensor, parameters: Mapping[str, Tensor]) -> list[str]:
        """The scale that runs away: the positive parameter that the density rises with most; else all it reads."""
        free = {name: value for name, value in parameters.items() if value.requires_grad}
        slopes = torch.autograd.grad(term, list(free.values()), allow_unused=True) if term.requires_grad else []
        read = {name: slope for name, slope in zip(free, slopes, strict=False) if slope is not None}
        supports = {name: self.model.structure.parameters[name].support for name in read}
        scales = [name for name, support in supports.items() if isinstance(support, _POSITIVE)]
        if scales:
            return [max(scales, key=lambda name: float((read[name] * free[name]).detach().abs().max()))]
        return list(read)

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
