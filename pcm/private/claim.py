"""One claim about a release: its number, what it rests on, or why it is refused.

>>> Claim("graph-conditional", 1.0, says="what is noised costs 1", assumptions=("the graph is right",))
graph-conditional: ε = 1, what is noised costs 1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pcm.arguments import check_positive, check_probability
from pcm.errors import ClaimError
from pcm.notebook import Shown

__all__ = ["KINDS", "Claim"]

KINDS = ("unconditional", "graph-conditional", "model-conditional")


@dataclass(frozen=True, eq=False, repr=False)
class Claim(Shown):
    """A statement ``P(release | a) ≤ e^ε P(release | a') + δ`` of one kind.

    Attributes
    ----------
    kind : {"unconditional", "graph-conditional", "model-conditional"}
    epsilon : float
        Infinite where nothing can be promised, NaN where there is no number at all.
    delta : float
    says : str
        What was found.
    assumptions : tuple of str
        What it rests on.
    refused : str
        Why the claim cannot be made; empty where it can.
    draws : numpy.ndarray (draw,) or None
        Of the model-conditional value, under the parameters of a fit; ``epsilon`` is their mean.
    interventional : float or None
        Of the model-conditional kind: what directed paths alone carry; never a measure of privacy.
    """

    kind: str
    epsilon: float
    delta: float = 0.0
    says: str = ""
    assumptions: tuple[str, ...] = ()
    refused: str = ""
    draws: np.ndarray | None = None
    interventional: float | None = None

    @property
    def guarantee(self) -> bool:
        """Whether this bounds anything beyond the model: the kinds that do, unless refused."""
        return self.kind != "model-conditional" and not self.refused and bool(np.isfinite(self.epsilon))

    def interval(self, prob: float = 0.95) -> tuple[float, float]:
        """Where the value lies with this probability under the parameter draws."""
        check_probability(prob)
        if self.draws is None:
            return self.epsilon, self.epsilon
        low, high = np.quantile(self.draws, [(1 - prob) / 2, (1 + prob) / 2], method="nearest")
        return float(low), float(high)

    def require(self, epsilon: float) -> Claim:
        """This claim, if it promises ``epsilon`` or better; 0 asks for nothing to leak.

        Raises
        ------
        ClaimError
            It is refused, promises less, or is no guarantee.
        """
        check_positive(epsilon, "epsilon", zero=True)
        if self.kind == "model-conditional":
            raise ClaimError(
                "a model-conditional value is no guarantee: it holds of the fitted model alone. Require the "
                "unconditional or the graph-conditional claim.",
                claim=self,
            )
        if self.refused:
            raise ClaimError(f"the {self.kind} claim is refused: {self.refused}", claim=self)
        if not self.epsilon <= epsilon * (1 + 1e-9):
            raise ClaimError(
                f"the {self.kind} claim promises ε = {self.epsilon:.6g}, not {epsilon:g}: {self.says}", claim=self
            )
        return self

    def number(self) -> str:
        """ε (and δ) in figures."""
        if np.isnan(self.epsilon):
            return "no number"
        value = "∞" if np.isinf(self.epsilon) else f"{self.epsilon:.4g}"
        if self.draws is not None and len(self.draws) > 1:
            low, high = self.interval()
            value += f" [{low:.4g}, {high:.4g}]"
        return f"ε = {value}" + (f" at δ = {self.delta:g}" if self.delta else "")

    def __repr__(self) -> str:
        return f"{self.kind}: {self.words()}"

    def _words(self) -> str:
        return "\n".join([repr(self), *self.assumptions])

    def words(self) -> str:
        """Number and finding, or the refusal."""
        if self.refused:
            return f"REFUSED ({self.number()}): {self.refused}"
        return f"{self.number()}, {self.says}" if self.says else self.number()

    def as_row(self) -> dict[str, Any]:
        """A row of a table."""
        low, high = self.interval()
        return {
            "kind": self.kind,
            "epsilon": self.epsilon,
            "low": low,
            "high": high,
            "delta": self.delta,
            "guarantee": self.guarantee,
            "says": self.says,
            "refused": self.refused,
            "assumptions": "; ".join(self.assumptions),
        }
