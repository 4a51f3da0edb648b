"""Statistics of a whole table, released at once: what cross-tables and moments share.

A statistic is a sum over rows of bounded whole numbers, so that sums are exact and no rounding leaks; replacing one row
moves it by at most a public distance. Whole noise by OpenDP is added: discrete Laplace (a pure ε) or discrete Gaussian
(a zero-concentrated ρ). The number of rows is public. :func:`pcm.SCM.fit` takes the noisy sums alone as evidence.

>>> import pandas as pd
>>> from pcm import private
>>> ledger = private.Ledger(epsilon=1.0)
>>> counts = private.CrossTable({"t": [0, 1]}, epsilon=1.0)
>>> made = counts.release(pd.DataFrame({"t": [0, 1, 1]}), ledger, name="counts")
>>> len(made), ledger.remaining
(3, 0.0)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd
import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.arguments import check_seed
from pcm.couplings import DiscreteGaussian, DiscreteLaplace
from pcm.errors import ArgumentError, DataError, listed
from pcm.infer.seeding import seeded
from pcm.notebook import Shown
from pcm.private.checks import check_ledger, check_loss, check_units
from pcm.private.costed import Costed
from pcm.private.events import Promise
from pcm.private.sampler import accounting, opendp

if TYPE_CHECKING:
    from pcm.private.ledger import Ledger

__all__ = ["Aggregate", "Statistic"]

#: A scale in whole numbers above which the noise has its continuous law's variance to 1e-9.
WIDE = 1e4


@dataclass(frozen=True, init=False)
class Statistic(Costed):
    """A sum over rows with whole noise; frozen, compared by its constants.

    Attributes
    ----------
    noise : str
        ``"laplace"`` (its loss is ``epsilon``) or ``"gaussian"`` (its loss is ``rho``).
    loss : float
        ε, or ρ, of one row replaced.
    """

    noise: str
    loss: float

    def _set(self, epsilon: float | None, rho: float | None, **constants: Any) -> None:
        name, loss = check_loss(type(self).__name__, epsilon=epsilon, rho=rho)
        self._fix(noise="laplace" if name == "epsilon" else "gaussian", loss=loss, **constants)

    # -- what it sums ------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def variables(self) -> tuple[str, ...]:
        """Columns it reads."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Names of the sums."""

    @property
    def unit(self) -> int:
        """The whole number that stands for 1."""
        return 1

    @property
    @abstractmethod
    def distances(self) -> tuple[int, float]:
        """How far one row replaced moves the whole sums: in L1, in L2."""

    @abstractmethod
    def read(self, frame: pd.DataFrame) -> np.ndarray:
        """Each row's whole numbers ``(row, sum)``, or an error that names the rows."""

    @abstractmethod
    def features(self, values: Mapping[str, Tensor]) -> Tensor:
        """Each unit's terms ``(unit, sum)`` at the program's values ``(unit,)``; differentiable."""

    # -- the promise -------------------------------------------------------------------------------------------------

    @property
    def epsilon(self) -> float:
        """ε of one row replaced; infinite for Gaussian noise."""
        return self.loss if self.noise == "laplace" else math.inf

    @property
    def rho(self) -> float:
        """ρ of one row replaced."""
        return self.loss if self.noise == "gaussian" else 0.5 * self.loss**2

    @property
    def scale(self) -> float:
        """Of the noise, in whole numbers: ``Δ₁ / ε``, or ``Δ₂ / sqrt(2 ρ)``."""
        one, two = self.distances
        return one / self.loss if self.noise == "laplace" else two / math.sqrt(2.0 * self.loss)

    @property
    def variance(self) -> float:
        """Of the noise of one sum."""
        wide = self.scale > WIDE
        whole = self.scale**2 * (2.0 if self.noise == "laplace" else 1.0) if wide else float(self._law().variance)
        return whole / self.unit**2

    @property
    def event(self) -> Any:
        """The loss of one row replaced, for a ledger: ``ε`` as a promise, ``ρ`` as a dp-accounting event."""
        return Promise(self.loss) if self.noise == "laplace" else accounting().ZCDpEvent(self.loss)

    @property
    def measurement(self) -> Any:
        """OpenDP's measurement of the whole sums."""
        with opendp() as dp:
            domain = dp.vector_domain(dp.atom_domain(T=int))
            if self.noise == "laplace":
                return dp.m.make_laplace(domain, dp.l1_distance(T=int), scale=self.scale)
            return dp.m.make_gaussian(domain, dp.l2_distance(T=float), scale=self.scale)

    def _losses(self) -> tuple[float, float]:
        return float(self.measurement.map(self.distances[0 if self.noise == "laplace" else 1])), self.loss

    # -- answers -----------------------------------------------------------------------------------------------------

    def release(self, data: pd.DataFrame, ledger: Ledger, *, name: str) -> Aggregate:
        """Noise a table's statistic: check, debit the ledger, then draw.

        Parameters
        ----------
        data : DataFrame
            A row for each unit of privacy; other columns are not looked at.
        ledger : Ledger
        name : str
            What the ledger calls it.

        Raises
        ------
        DataError
            A missing column, empty cells, values outside the public categories or bounds, two rows for one unit.
        BudgetError
            The ledger cannot pay; nothing is drawn.
        """
        check_ledger(ledger, "release(data, ledger)")
        self._check(data)
        check_units(data.index, ledger.unit, name)
        sums = self.read(data).sum(0).tolist()
        answers, entry = self._paid(ledger, name, len(data), lambda measurement: measurement(sums))
        found = np.asarray(answers, dtype=np.float64) / self.unit
        return Aggregate(found, self, rows=len(data), name=name, entry=entry)

    def simulate(self, data: pd.DataFrame, *, seed: int | None = None) -> np.ndarray:
        """The same noisy sums ``(sum,)`` from torch's generator: for studies of the method, and no release."""
        if seed is not None:
            check_seed(seed)
        self._check(data)
        sums = self.read(data).sum(0)
        with seeded(seed):
            noise = self._law().sample((len(sums),)).round().numpy()
        return (sums + noise) / self.unit

    def _law(self) -> Any:
        """The noise; where its steps are too small to see, the continuous law."""
        loc = torch.zeros((), dtype=torch.float64)
        if self.scale > WIDE:
            return (dist.Laplace if self.noise == "laplace" else dist.Normal)(loc, self.scale)
        return (DiscreteLaplace if self.noise == "laplace" else DiscreteGaussian)(loc, self.scale)

    def _check(self, data: Any) -> None:
        """Refuse what is no table with these columns."""
        asked = type(self).__name__
        if not isinstance(data, pd.DataFrame):
            raise DataError(f"{asked}: a DataFrame is needed; found {type(data).__name__}.")
        lacking = [name for name in self.variables if name not in data]
        if lacking:
            raise DataError(f"{asked}: the data lack {listed(lacking)}. Nothing was debited.", column=lacking[0])
        if not len(data):
            raise DataError(f"{asked}: there are no rows.")
        twice = [name for name in self.variables if isinstance(data[name], pd.DataFrame)]
        if twice:
            raise DataError(
                f"{asked}: the data have more than one column named {twice[0]!r}; keep one. Nothing was debited.",
                column=twice[0],
            )


@final
class Aggregate(Shown):
    """Noisy sums over a whole table, for anyone to see; evidence for ``fit``.

    Building one by hand (from a file, say) asserts that the sums came out of that statistic.

    Parameters
    ----------
    values : array ``(sum,)``
        In the order of ``statistic.labels``.
    statistic : Statistic
    rows : int
        How many rows were summed, which is public.

    Examples
    --------
    >>> from pcm import private
    >>> Aggregate([12.0, 29.0], private.CrossTable({"t": ["no", "yes"]}, epsilon=1.0), rows=40).to_series()
    t = no     12.0
    t = yes    29.0
    dtype: float64
    """

    def __init__(
        self, values: Any, statistic: Statistic, *, rows: int, name: str = "aggregate", entry: int | None = None
    ) -> None:
        array = np.array(values, dtype=np.float64)
        if not isinstance(statistic, Statistic):
            raise ArgumentError(f"Aggregate(values, statistic): {statistic!r} is no statistic of pcm.private.")
        if array.shape != (len(statistic.labels),) or not np.isfinite(array).all():
            raise DataError(f"aggregate '{name}': {len(statistic.labels)} finite sums are needed; found {array!r}.")
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise ArgumentError(f"aggregate '{name}': rows={rows!r} is not a number of rows.")
        array.flags.writeable = False
        self.values, self.statistic, self.rows, self.name, self.entry = array, statistic, rows, name, entry

    def __len__(self) -> int:
        return self.rows

    def to_series(self) -> pd.Series:
        """The noisy sums by name; what has been released may be shown and stored."""
        return pd.Series(self.values, index=list(self.statistic.labels))

    def __repr__(self) -> str:
        return f"Aggregate({self.name}: {len(self.values)} sums over {self.rows} rows through {self.statistic!r})"

    def _table(self) -> pd.DataFrame:
        return self.to_series().to_frame(self.name)
