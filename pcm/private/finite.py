"""Mechanisms from finitely many inputs to finitely many outputs: a public table ``P(out | in)``, and what they share.

Inputs and outputs are labels; a program has their places 0..K-1. A site is the Categorical of the true value's row.

>>> from pcm import private
>>> private.RandomizedResponse(epsilon=1.0, categories=["a", "b", "c"]).matrix().round(4).tolist()
[[0.5761, 0.2119, 0.2119], [0.2119, 0.5761, 0.2119], [0.2119, 0.2119, 0.5761]]
"""

from __future__ import annotations

import numbers
from abc import abstractmethod
from typing import Any

import numpy as np
import pandas as pd
import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings.parameters import concrete
from pcm.errors import ArgumentError, DataError, SupportError, listed
from pcm.private.checks import refuse_rows
from pcm.private.mechanism import Mechanism

__all__ = ["Finite", "check_labels", "codes_of", "pure_event"]


class Finite(Mechanism):
    """A mechanism by its table."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[Any, ...]:
        """Labels of the inputs."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Any, ...]:
        """Labels of the outputs."""

    @abstractmethod
    def matrix(self) -> np.ndarray:
        """``P(out | in)``, ``[in, out]``."""

    # -- the law -----------------------------------------------------------------------------------------------------

    def law(self, value: Tensor) -> Any:
        """``Categorical`` of the row of each true code."""
        code = torch.as_tensor(value)
        table = torch.tensor(self.matrix(), dtype=torch.get_default_dtype())
        if concrete(code) and code.numel():
            low, high = (each.item() for each in torch.aminmax(code))
            whole = not code.is_floating_point() or bool((code == code.round()).all())
            if not (low >= 0 and high < len(table) and whole):
                bad = low if low < 0 else high
                raise SupportError(
                    f"{type(self).__name__} has {len(table)} inputs, with codes 0..{len(table) - 1}; the true value "
                    f"here is {bad:g}. Noise a variable with these codes.",
                    value=bad,
                )
        return dist.Categorical(probs=table[code.long()])

    def probability(self, out: Any, given: Any) -> float:
        """Entry of the table, by labels."""
        row = self.read(np.asarray([given], dtype=object), pd.RangeIndex(1), "the input")[0]
        return float(self.matrix()[row, self.encode([out])[0]])

    # -- answers -----------------------------------------------------------------------------------------------------

    def read(self, array: np.ndarray, index: pd.Index, name: str) -> np.ndarray:
        """Codes of the input labels."""
        refuse_rows(name, index, pd.isna(array), "has empty cells", "Drop or fill them before the release.")
        codes = codes_of(self.inputs, array)
        advice = f"The categories are public: {listed(self.inputs)}. Correct the rows, or name all categories."
        refuse_rows(name, index, codes < 0, "holds what is none of the mechanism's categories", advice)
        return codes

    def encode(self, values: Any) -> np.ndarray:
        """Codes of the output labels."""
        codes = codes_of(self.outputs, np.asarray(values, dtype=object))
        if (codes < 0).any():
            raise DataError(f"answers of {self!r} are {listed(self.outputs)}; some of these are none of them.")
        return codes

    def decode(self, answers: np.ndarray) -> np.ndarray:
        """Output labels of codes."""
        kind = object if any(isinstance(each, str) for each in self.outputs) else None
        return np.asarray(self.outputs, dtype=kind)[answers.astype(np.int64)]


def check_labels(labels: Any, asked: str, public: bool) -> tuple[Any, ...]:
    """Labels as a tuple: at least two, none twice, plain, numbers not in an order that contradicts the codes."""
    if not isinstance(labels, list | tuple | range) and not public:
        raise ArgumentError(
            f"{asked}: a list of labels is needed; found {type(labels).__name__}. Categories computed from the data "
            "give away which of them occur: write them down, or declare them with public=True."
        )
    made = tuple(labels)
    plain = tuple(each.item() if isinstance(each, np.generic) else each for each in made)
    if not public and any(isinstance(each, np.generic) for each in made):
        raise ArgumentError(
            f"{asked}: {made[0]!r} comes from an array. Categories computed from the data give away which of them "
            "occur: write them down, or declare them with public=True."
        )
    for each in plain:
        if not isinstance(each, str | int | float | bool) or each != each:
            raise ArgumentError(f"{asked}: {each!r} is no label; labels are texts or numbers.")
    if len(plain) < 2 or len(set(plain)) < len(plain):
        raise ArgumentError(f"{asked}: at least two labels, each once; found {listed(map(repr, plain))}.")
    numeric = all(isinstance(each, numbers.Real) for each in plain)
    if numeric and set(plain) == set(range(len(plain))) and plain != tuple(range(len(plain))):
        raise ArgumentError(
            f"{asked}: {listed(plain)} are the codes 0..{len(plain) - 1} in another order, and a program would take "
            "them for codes. Write them in order."
        )
    return plain


def pure_event(epsilon: float, module: Any) -> Any:
    """The worst loss of any ε-private mechanism: two outcomes at odds ``e^ε`` (Kairouz, Oh & Viswanath 2015)."""
    flipped = 1.0 / (1.0 + np.exp(epsilon))
    return module.RandomizedResponseDpEvent(2.0 * flipped, 2)


def codes_of(labels: tuple[Any, ...], array: np.ndarray) -> np.ndarray:
    """Codes of labels, -1 of what is none."""
    known = {label: code for code, label in enumerate(labels)}
    kinds, places = np.unique(array, return_inverse=True) if array.dtype.kind in "iufb" else (None, None)
    if kinds is not None:
        return np.array([known.get(each.item(), -1) for each in kinds], dtype=np.int64)[places]
    plain = [each.item() if isinstance(each, np.generic) else each for each in array.tolist()]
    # anything but a label (a list, a dict) is no key
    found = [known.get(each, -1) if isinstance(each, str | numbers.Real) else -1 for each in plain]
    return np.array(found, dtype=np.int64)
