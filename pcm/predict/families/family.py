"""What a family of predictors is: a regression of the outcome on its admissible inputs, with both uncertainties.

A :class:`Family` is fitted to rows of inputs and an outcome. What comes back draws *members*: functions of the inputs
that the data leave possible (a posterior's draws, an ensemble, models of other folds). Members disagree where the data
are few, which is the *epistemic* part; each has noise around it, the *aleatoric* part. A member is one function: asked
about many copies of a row it answers them all alike, so that averages over copies keep their uncertainty.

>>> import numpy as np
>>> from pcm.predict.families import family
>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(500, 1))
>>> fitted = family("linear").fit(x, 2 * x[:, 0] + rng.normal(size=500), seed=0)
>>> found = fitted.members(np.zeros((1, 1)), count=200)
>>> found.mean.shape, found.noise.shape, bool(abs(found.noise.std() - 1) < 0.1)
((200, 1), (1, 199), True)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pcm.errors import ArgumentError, DataError

__all__ = ["ATOMS", "Family", "Fitted", "Members", "by_member", "checked", "gaussian_atoms", "members_of"]

#: Equally likely values by which noise is represented: the mid-quantiles of its law.
ATOMS = 199

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Members:
    """Predictions of several members for some rows.

    Attributes
    ----------
    mean : array ``(member, row)`` or ``(member, row, class)``
        Expected outcome; of a class, its probability.
    noise : array ``(member or 1, atom)`` or None
        Equally likely departures of the outcome from the mean; None for classes, whose probabilities say it all.
    """

    mean: Array
    noise: Array | None = None


class Fitted(ABC):
    """A family's regression once fitted; the same ``count`` gives the same members at every call."""

    @abstractmethod
    def members(self, x: Array, count: int) -> Members:
        """Members' predictions for rows ``(row, input)``, or for each member's own, ``(member, row, input)``."""


class Family(ABC):
    """A way to regress an outcome on inputs. Instances hold settings and are not changed by ``fit``."""

    #: What users write for it.
    name: str

    @abstractmethod
    def fit(self, x: Array, y: Array, *, classes: int | None = None, seed: int = 0) -> Fitted:
        """Fit to rows.

        Parameters
        ----------
        x : array ``(row, input)``
        y : array ``(row,)``
            The outcome; with ``classes`` its codes ``0 … classes - 1``.
        classes : int, optional
            How many classes the outcome has; None for a number.
        seed : int

        Raises
        ------
        DataError
            Too few rows, or values that are not finite.
        """


def members_of(fits: Sequence[Fitted], design: Array, count: int) -> Members:
    """Predictions of ``count`` members, each from one of several fits in turn; rows as for :meth:`Fitted.members`.

    >>> class Constant(Fitted):
    ...     def __init__(self, value): self.value = value
    ...     def members(self, x, count): return Members(np.full((count, x.shape[-2]), self.value))
    >>> members_of([Constant(1.0), Constant(2.0)], np.zeros((4, 0)), 3).mean[:, 0].tolist()
    [1.0, 2.0, 1.0]
    """
    if len(fits) == 1:
        return fits[0].members(design, count)
    found = [
        fitted.members(design if len(design) == 1 else design[place :: len(fits)], len(range(place, count, len(fits))))
        for place, fitted in enumerate(fits)
        if place < count
    ]
    order = np.argsort(np.concatenate([np.arange(place, count, len(fits)) for place in range(len(found))]))
    mean = np.concatenate([each.mean for each in found])[order]
    if found[0].noise is None:
        return Members(mean)
    noise = [
        np.broadcast_to(each.noise, (len(each.mean), each.noise.shape[1])) for each in found if each.noise is not None
    ]
    return Members(mean, np.concatenate(noise)[order])


def by_member(x: Array, count: int) -> Array:
    """Rows a member, ``(member or 1, row, input)``.

    >>> by_member(np.zeros((5, 2)), 7).shape
    (1, 5, 2)
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim == 3 and len(x) not in (1, count):
        raise ArgumentError(f"rows for {len(x)} members were given, but {count} members are asked for.")
    return x if x.ndim == 3 else x[None]


def checked(x: Array, y: Array, classes: int | None, least: int) -> tuple[Array, Array]:
    """Both as float64, or an error that says which is wrong; ``least`` rows are needed."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ArgumentError(f"inputs are (row, input) and the outcome (row,); found {x.shape} and {y.shape}.")
    if len(x) < least:
        raise DataError(f"n_samples = {len(x)}: too few rows for this family, which needs {least} at least.")
    for what, values in (("inputs", x), ("the outcome", y)):
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(1))[0])
            raise DataError(f"{what} of row {row} are not finite; drop the row, or mend it.", row=row)
    if classes is not None and not np.isin(y, np.arange(classes)).all():
        raise DataError(
            f"the outcome's codes run from 0 to {classes - 1}; found {y[~np.isin(y, range(classes))][0]:g}."
        )
    return x, y


def gaussian_atoms(sd: float) -> Array:
    """Equally likely atoms of ``Normal(0, sd)`` with exactly its variance, ``(1, atom)``.

    >>> atoms = gaussian_atoms(2.0)
    >>> atoms.shape, round(float(atoms.std()), 12), round(float(atoms.mean()), 12)
    ((1, 199), 2.0, 0.0)
    """
    atoms = ndtri((np.arange(ATOMS) + 0.5) / ATOMS)
    return (sd * atoms / atoms.std())[None]
