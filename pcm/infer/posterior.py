"""The posterior of a program's parameters: draws, how they were had, and whether to trust them.

>>> import torch
>>> posterior = Posterior({"slope": torch.linspace(0, 2, 101, dtype=torch.float64)}, method="laplace")
>>> posterior
Posterior(laplace, 101 draws; slope 1±0.59)
>>> float(posterior.summary().loc["slope", "5%"])
0.1
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pcm.errors import ArgumentError, UnknownNameError
from pcm.infer.diagnostics import ess, rhat
from pcm.io.arviz import data_tree, free_dims, to_arviz
from pcm.notebook import words_to_html

if TYPE_CHECKING:
    import pandas

__all__ = ["Posterior"]

SHOWN = 4  # parameters named in the one-line form


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of parameters, and their diagnostics.

    Attributes
    ----------
    draws
        ``{parameter: (draw, *event)}``, constrained values, float64; chains one after the other.
    method
        Name of the method that made them.
    chains
        Number of Markov chains (1 for independent draws).
    diagnostics
        Plain numbers, words and lists, ready for JSON. ``converged`` is always there; others depend on the method:
        ``khat`` and ``ess`` (importance sampling), ``resampled``, ``log_evidence``, ``rhat``, ``divergences``, …
    dims
        Names of the axes of a parameter, for ArviZ.
    sample_stats
        ``{name: (chain, draw)}`` of the sampler.

    Examples
    --------
    >>> Posterior({"slope": torch.ones(3)}, method="map").mean("slope")
    tensor(1.)
    """

    draws: Mapping[str, Tensor]
    method: str
    chains: int = 1
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sample_stats: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = {name: value.shape[0] if value.ndim else None for name, value in self.draws.items()}
        if len(set(sizes.values())) > 1 or None in sizes.values():
            raise ArgumentError(f"Every parameter needs the same number of draws on its first axis; found {sizes}.")
        if self.draws and (self.chains < 1 or len(self) % self.chains):
            raise ArgumentError(f"{len(self)} draws do not divide into {self.chains} chains of one length.")

    def __len__(self) -> int:
        """Number of draws over all chains; 1 where there is no parameter to draw."""
        return next(iter(self.draws.values())).shape[0] if self.draws else 1

    def __getitem__(self, name: str) -> Tensor:
        """The draws ``(draw, *event)`` of one parameter."""
        try:
            return self.draws[name]
        except KeyError:
            raise UnknownNameError(name, kind="parameter", known=list(self.draws), where="the posterior") from None

    def mean(self, name: str) -> Tensor:
        """Posterior mean ``(*event)`` of one parameter."""
        return self[name].mean(0)

    def thin(self, draws: int, seed: int = 0) -> Posterior:
        """``draws`` draws chosen without replacement, the same ones for the same seed.

        A posterior that has no more draws than asked for is returned as it is.

        Raises
        ------
        ArgumentError
            If ``draws`` is below 1.
        """
        if draws < 1:
            raise ArgumentError(f"draws={draws} keeps nothing; ask for at least 1.")
        if draws >= len(self):
            return self
        generator = torch.Generator().manual_seed(seed)
        kept = torch.randperm(len(self), generator=generator)[:draws].sort().values
        chosen = {name: value[kept] for name, value in self.draws.items()}
        return replace(self, draws=chosen, chains=1, sample_stats={})

    @cached_property
    def inference_data(self):
        """What ArviZ reads: groups ``posterior`` and ``sample_stats``, dims (chain, draw, …)."""
        each = len(self) // self.chains
        arrays = {
            name: value.detach().cpu().numpy().reshape(self.chains, each, *value.shape[1:])
            for name, value in self.draws.items()
        }
        dims = free_dims({name: array.shape[2:] for name, array in arrays.items()}, self.dims)
        groups = {
            "posterior": {name: (("chain", "draw", *dims[name]), array) for name, array in arrays.items()},
            "sample_stats": {name: (("chain", "draw"), np.asarray(stat)) for name, stat in self.sample_stats.items()},
        }
        attrs = {"inference_library": "pcm", "method": self.method}
        plain = {name: value for name, value in self.diagnostics.items() if isinstance(value, int | float | str)}
        return to_arviz(data_tree(groups, attrs=attrs | {name: _attribute(value) for name, value in plain.items()}))

    def summary(self) -> pandas.DataFrame:
        """A row a scalar: mean, sd, 5 % and 95 % quantiles, effective sample size, R-hat.

        ``ess`` counts independent draws: bulk ESS of chains, the importance sampling ESS of resampled draws (at most
        their number), the number of draws otherwise. ``rhat`` is NaN unless there are Markov chains.
        """
        import pandas

        rows, names = [], []
        markov = "rhat" in self.diagnostics and self.chains > 1
        independent = min(float(len(self)), float(self.diagnostics.get("ess") or math.inf))
        for name, value in self.draws.items():
            array = value.detach().cpu().numpy().astype(float)
            flat = array.reshape(len(array), -1)
            low, high = np.quantile(flat, [0.05, 0.95], axis=0)
            deviation = flat.std(axis=0, ddof=1) if len(flat) > 1 else np.zeros(flat.shape[1])
            if markov:
                chains = flat.reshape(self.chains, -1, flat.shape[1])
                sizes, agreement = ess(chains), rhat(chains)
            else:
                sizes, agreement = np.full(flat.shape[1], independent), np.full(flat.shape[1], np.nan)
            rows.append(np.stack([flat.mean(axis=0), deviation, low, high, sizes, agreement], axis=1))
            names += [name + _place(place) for place in itertools.product(*map(range, array.shape[1:]))]
        columns = ["mean", "sd", "5%", "95%", "ess", "rhat"]
        return pandas.DataFrame(np.concatenate(rows) if rows else np.zeros((0, 6)), index=names, columns=columns)

    def __repr__(self) -> str:
        notes = [f"{self.method}, {len(self)} draw{'s' if len(self) != 1 else ''}"]
        if self.chains > 1:
            notes.append(f"{self.chains} chains")
        khat, worst = self.diagnostics.get("khat"), self.diagnostics.get("rhat")
        if khat is not None:
            notes.append(f"k-hat {khat:.2f}")
        if worst:
            notes.append(f"R-hat {np.nanmax(list(worst.values())):.3f}")
        if self.diagnostics.get("converged") is False:
            notes.append("not converged")
        shown = [_brief(name, value) for name, value in itertools.islice(self.draws.items(), SHOWN)]
        if len(self.draws) > SHOWN:
            shown.append("…")
        return f"Posterior({', '.join(notes)}{'; ' if shown else ''}{', '.join(shown)})"

    def _repr_html_(self) -> str:
        return words_to_html(repr(self)) + self.summary().to_html(float_format=lambda value: f"{value:.4g}")


def _place(place: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, place))}]" if place else ""


def _brief(name: str, value: Tensor) -> str:
    if value.ndim > 1:
        return f"{name} [{'×'.join(map(str, value.shape[1:]))}]"
    if len(value) == 1:
        return f"{name} {float(value[0]):.3g}"
    return f"{name} {float(value.mean()):.3g}±{float(value.std()):.2g}"


def _attribute(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value  # netCDF has no booleans
