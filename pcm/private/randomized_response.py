"""Randomised response: the true category with probability ``e^ε / (e^ε + K - 1)``, else any other, equally likely [1]_.

References
----------
.. [1] Warner (1965). Randomized response: a survey technique for eliminating evasive answer bias. JASA 60.

>>> rr = RandomizedResponse(epsilon=1.0, categories=["no", "yes"])
>>> round(rr.probability("yes", given="yes"), 6)
0.731059
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from pcm.errors import ArgumentError
from pcm.private.checks import check_distance, check_loss
from pcm.private.finite import Finite, check_labels
from pcm.private.sampler import accounting, opendp, repeated

__all__ = ["RandomizedResponse"]

MOST = 15.0
"""Largest ε: beyond it a lie has probability 1e-7, which a floating-point keep-probability no longer states to 1e-9."""


@final
@dataclass(frozen=True, init=False)
class RandomizedResponse(Finite):
    """Randomised response over public categories.

    Parameters
    ----------
    epsilon : float
    categories : list of labels
        All that there are, in the order of the variable's codes.
    public : bool
        Declare categories public that look computed.

    Raises
    ------
    ArgumentError
        An ε that is not positive and finite, categories that are no plain list.

    Examples
    --------
    >>> import torch
    >>> rr = RandomizedResponse(epsilon=2.0, categories=[0, 1])
    >>> rr.site(torch.tensor([0.0, 1.0])).log_prob(torch.tensor([1, 1])).exp().round(decimals=4).tolist()
    [0.11919999867677689, 0.8808000087738037]
    """

    epsilon: float
    categories: tuple[Any, ...]
    public: bool = field(default=False, compare=False, repr=False)

    def __init__(self, epsilon: float, categories: Any, *, public: bool = False) -> None:
        _, number = check_loss("RandomizedResponse", epsilon=epsilon)
        if number > MOST:
            raise ArgumentError(
                f"RandomizedResponse(epsilon={epsilon}): above {MOST:g} hardly any answer is changed; publish the "
                "column and book it as raw, or choose a smaller ε."
            )
        labels = check_labels(categories, "RandomizedResponse(categories=…)", public)
        self._fix(epsilon=number, categories=labels, public=public)

    @property
    def keep(self) -> float:
        """Probability of the true category."""
        return 1.0 / (1.0 + (len(self.categories) - 1) * math.exp(-self.epsilon))

    @property
    def inputs(self) -> tuple[Any, ...]:
        """``categories``."""
        return self.categories

    @property
    def outputs(self) -> tuple[Any, ...]:
        """``categories``."""
        return self.categories

    def matrix(self) -> np.ndarray:
        """``keep`` on the diagonal, the rest in equal parts beside it."""
        count = len(self.categories)
        lie = math.exp(-self.epsilon) * self.keep
        return np.where(np.eye(count, dtype=bool), self.keep, lie)

    @property
    def event(self) -> Any:
        """dp-accounting's noise parameter is the chance of a draw over all K: ``K (1 - keep) / (K - 1)``."""
        count = len(self.categories)
        return accounting().RandomizedResponseDpEvent(count * math.exp(-self.epsilon) * self.keep, count)

    @property
    def measurement(self) -> Any:
        """OpenDP's randomised response on one code."""
        with opendp() as dp:
            if len(self.categories) == 2:
                return dp.m.make_randomized_response_bool(self.keep)
            return dp.m.make_randomized_response(list(range(len(self.categories))), self.keep)

    def map(self, distance: float | None = None) -> float:
        """OpenDP's map between two different codes."""
        return float(self.measurement.map(1 if distance is None else int(check_distance(distance))))

    def draw(self, measurement: Any, values: np.ndarray) -> np.ndarray:
        """Two categories as one vector of bits, each flipped on its own; of more, equal rows by one call."""
        if len(self.categories) > 2:
            return repeated(measurement, values, int)
        with opendp() as dp:
            space = dp.bitvector_domain(max_weight=len(values)), dp.discrete_distance()
            # OpenDP's f is twice the chance of a flip
            flip = dp.m.make_randomized_response_bitvec(*space, f=2.0 * math.exp(-self.epsilon) * self.keep)
        bits = flip(np.packbits(values.astype(np.uint8)).tobytes())
        return np.unpackbits(np.frombuffer(bits, dtype=np.uint8))[: len(values)].astype(np.int64)
