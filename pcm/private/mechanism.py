"""What a mechanism is: a public promise, an exact site, a real release.

One frozen object a mechanism, with public constants only. It says what a unit's answer reveals of the unit's own value,
whatever anyone knows (local differential privacy, one row replaced by another):

- ``release`` noises real data with OpenDP, after the ledger's debit is on disk;
- ``site`` is the exact law of the answer given the true value, for programs;
- ``cost``, ``map`` and ``event`` state the loss as an OpenDP map and as a dp-accounting event;
- ``probability`` and, of finite domains, ``matrix`` give ``P(out | in)``.

>>> from pcm import private
>>> ledger = private.Ledger(epsilon=1.0)
>>> rr = private.RandomizedResponse(epsilon=1.0, categories=["no", "yes"])
>>> release = rr.release(["yes", "no", "no"], ledger, name="smoker")
>>> len(release), round(ledger.remaining, 9)
(3, 0.0)
"""

from __future__ import annotations

from abc import abstractmethod
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.arguments import check_seed
from pcm.couplings import Noised
from pcm.couplings.parameters import concrete
from pcm.errors import ArgumentError, SupportError
from pcm.infer.seeding import seeded
from pcm.private.checks import check_ledger, check_units
from pcm.private.costed import Costed
from pcm.private.release import Release, Simulated, read_column

if TYPE_CHECKING:
    from pcm.private.ledger import Ledger

__all__ = ["Mechanism"]


class Mechanism(Costed):
    """A private mechanism for one value a unit; frozen, compared by its constants.

    Attributes
    ----------
    measure : str
        OpenDP's measure of ``cost``: ``"max_divergence"`` (ε) or ``"zero_concentrated_divergence"`` (ρ).
    discrete : bool
        Whether its answers are discrete.
    epsilon : float
        ε of one row replaced, in closed form; infinite where there is no pure guarantee.
    """

    measure: ClassVar[str] = "max_divergence"
    discrete: ClassVar[bool] = True
    epsilon: Any

    # -- the promise -------------------------------------------------------------------------------------------------

    @property
    def rho(self) -> float:
        """ρ (zero-concentrated) of one row replaced, in closed form; ``ε² / 2`` of a pure guarantee."""
        return 0.5 * self.epsilon**2

    @abstractmethod
    def map(self, distance: float | None = None) -> float:
        """OpenDP's privacy map: the loss between inputs this far apart (default: as far as two rows can be)."""

    @property
    def _stated(self) -> float:
        return self.epsilon if self.measure == "max_divergence" else self.rho

    def _losses(self) -> tuple[float, float]:
        return self.map(), self._stated

    # -- the law -----------------------------------------------------------------------------------------------------

    def site(self, value: Tensor) -> Noised:
        """The exact law of the answer given the true value ``(*batch)``, carrying the mechanism.

        Answers are the program's numbers: codes 0..K-1 of categories.

        Raises
        ------
        SupportError
            A true value that the mechanism cannot take.
        """
        if not isinstance(value, Tensor | Real) or isinstance(value, bool):
            raise ArgumentError(f"site(value): a tensor or a number is needed; found {value!r}.")
        if (given := torch.as_tensor(value)).is_complex():
            raise SupportError(f"{type(self).__name__} noises real numbers; the true value here is complex.")
        if given.is_floating_point() and concrete(given) and bool(given.isnan().any()):
            raise SupportError(f"{type(self).__name__}: the true value here is NaN.")
        return Noised(self.law(value), self, **self.bends(value))

    def bends(self, value: Tensor) -> dict[str, Any]:
        """Where clipping bends the law, for who integrates over the true value; nothing by default."""
        return {}

    @abstractmethod
    def law(self, value: Tensor) -> Any:
        """The distribution behind :meth:`site`."""

    @abstractmethod
    def probability(self, out: Any, given: Any) -> float:
        """``P(out | in)``, both as labels or numbers; of continuous answers a density (a mass at a clamped end).

        Raises
        ------
        DataError
            An input or output that the mechanism does not have.
        """

    def matrix(self) -> np.ndarray:
        """``P(out | in)``, ``[in, out]``, of a mechanism with finitely many inputs and outputs.

        Raises
        ------
        ArgumentError
            The mechanism is not finite.
        """
        raise ArgumentError(f"{self!r} has infinitely many inputs or outputs, so no matrix; ask probability(out, in).")

    # -- answers -----------------------------------------------------------------------------------------------------

    def release(self, data: Any, ledger: Ledger, *, name: str | None = None) -> Release:
        """Noise real data: check them, debit the ledger, then draw.

        Parameters
        ----------
        data : Series, array or list
            ``[unit]``, one row for each unit of privacy. A Series' index names the units.
        ledger : Ledger
            Its debit is on disk before any noise is drawn. A process that dies in between has spent, not released.
        name : str, optional
            What the ledger calls it; a Series' own name by default.

        Returns
        -------
        Release

        Raises
        ------
        DataError
            Data outside the public bounds or categories, empty cells, bounds that are the data's own, two rows for
            one unit; nothing is debited.
        BudgetError
            The ledger cannot pay; nothing is drawn.
        """
        check_ledger(ledger, "release(data, ledger)")
        array, index, own = read_column(data, name or type(self).__name__)
        name = str(own) if name is None and own is not None else name
        if not isinstance(name, str) or not name:
            raise ArgumentError("release(data, ledger, name=…): what is released needs a name for the ledger.")
        check_units(index, ledger.unit, name)
        values = self.read(array, index, name)
        answers, entry = self._paid(ledger, name, len(values), lambda made: self.draw(made, values))
        return Release(self.decode(answers), self, index=index, name=name, entry=entry)

    def simulate(self, data: Any, *, seed: int | None = None) -> Simulated:
        """The same noise from torch's generator: for studies of the method, and typed as such.

        Examples
        --------
        >>> from pcm import private
        >>> private.RandomizedResponse(epsilon=9.0, categories=["no", "yes"]).simulate(["yes", "no"], seed=0).values
        array(['yes', 'no'], dtype=object)
        """
        if seed is not None:
            check_seed(seed)
        array, index, own = read_column(data, "simulate()")
        values = torch.from_numpy(np.asarray(self.read(array, index, str(own or "data")), dtype=np.float64))
        with seeded(seed):
            drawn = self.law(values).sample()
        return Simulated(self.decode(drawn.numpy()), index, self)

    @abstractmethod
    def read(self, array: np.ndarray, index: pd.Index, name: str) -> np.ndarray:
        """Input values as the numbers that are noised (codes, clipped numbers), or an error that names the rows."""

    @abstractmethod
    def draw(self, measurement: Any, values: np.ndarray) -> np.ndarray:
        """Answers ``[unit]`` by OpenDP's sampler."""

    @abstractmethod
    def encode(self, values: Any) -> np.ndarray:
        """Answers as the program's numbers.

        Raises
        ------
        DataError
            Values that the mechanism cannot give.
        """

    def decode(self, answers: np.ndarray) -> np.ndarray:
        """The program's numbers as answers."""
        return answers
