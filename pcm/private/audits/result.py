"""What an audit found: a lower bound on ε, and whether it refutes what was promised.

>>> found = Audit(epsilon=1.7, confidence=0.95, claimed=1.0, found="1,000 draws an input")
>>> found, found.flagged
(Audit(ε ≥ 1.7 at 95 %, claimed 1: REFUTED: 1,000 draws an input), True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pcm.errors import ArgumentError
from pcm.notebook import lines_to_html

__all__ = ["Audit", "check_confidence"]

# a promise is rounded up where it is computed; a bound within this of it refutes nothing
_SLACK = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """A lower bound on the privacy loss of what was run, never an upper one: silence proves nothing.

    Attributes
    ----------
    epsilon : float
        With probability ``confidence`` no smaller ε holds (at ``delta``).
    confidence : float
    delta : float
    claimed : float or None
        The promise that was audited.
    mu, claimed_mu : float or None
        The same of Gaussian differential privacy, where the audit went by it.
    reach : float or None
        The largest bound (on μ, where the audit went by it) that so many draws could give: a promise beyond it cannot
        be refuted by them.
    found : str
        What the bound rests on, in words.
    counts : dict
        The numbers behind it.
    """

    epsilon: float
    confidence: float
    delta: float = 0.0
    claimed: float | None = None
    mu: float | None = None
    claimed_mu: float | None = None
    reach: float | None = None
    found: str = ""
    counts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        claimed = self.claimed
        if claimed is not None and (isinstance(claimed, bool | str) or not 0 <= claimed < math.inf):
            raise ArgumentError(f"claimed={claimed!r}: the promised ε is a finite number, not negative.")

    @property
    def flagged(self) -> bool:
        """Whether the promise is refuted: the bound exceeds it."""
        if self.mu is not None and self.claimed_mu is not None:
            return self.mu > self.claimed_mu * (1 + _SLACK)
        return self.claimed is not None and self.epsilon > self.claimed * (1 + _SLACK)

    @property
    def ratio(self) -> float:
        """The bound as a fraction of the promise, by μ where the audit went by it."""
        if self.mu is not None and self.claimed_mu is not None:
            return self.mu / self.claimed_mu
        if self.claimed is None:
            raise ArgumentError("the audit has no claimed= to compare with.")
        return self.epsilon / self.claimed

    def to_dataframe(self) -> pd.DataFrame:
        """One row: bound, promise, verdict and counts."""
        row = {
            "epsilon": self.epsilon,
            "claimed": self.claimed,
            "mu": self.mu,
            "claimed_mu": self.claimed_mu,
            "delta": self.delta,
            "confidence": self.confidence,
            "flagged": self.flagged,
        }
        return pd.DataFrame([{**row, **self.counts}])

    def _verdict(self) -> str:
        bound = f"ε ≥ {self.epsilon:.4g}" + (f" at δ = {self.delta:g}" if self.delta else "")
        if self.mu is not None:
            bound = f"μ ≥ {self.mu:.4g}" + (f", {bound}" if self.delta else "")
        text = f"{bound} at {100 * self.confidence:.10g} %"
        promise = self.claimed_mu if self.mu is not None else self.claimed
        if promise is not None:
            text += f", claimed {'μ = ' if self.mu is not None else ''}{promise:.4g}: "
            text += "REFUTED" if self.flagged else "not refuted"
            if self.reach is not None and promise >= self.reach:
                text += f" (so many draws can refute {self.reach:.4g} at most)"
        return text

    def __repr__(self) -> str:
        return f"Audit({self._verdict()}{': ' + self.found if self.found else ''})"

    def _repr_html_(self) -> str:
        mark = "✗" if self.flagged else "·"
        lines = [("bound", f"{mark} {self._verdict()}"), ("from", self.found)]
        return lines_to_html(line for line in lines if line[1])


def check_confidence(confidence: Any) -> None:
    """Raise unless this is a probability strictly between 0 and 1."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise ArgumentError(f"confidence={confidence!r} must lie strictly between 0 and 1.")
