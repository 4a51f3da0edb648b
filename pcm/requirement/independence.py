"""Requirements on the observational law: independence of the prediction and a variable.

*Demographic parity* is ``Ŷ ⊥ s``, *equalised odds* ``Ŷ ⊥ s | Y`` (Hardt, Price & Srebro 2016). They are no path
requirements: they forbid dependence by common causes too, and admit effects that cancel.

>>> Independence("sex", outcome="hired")
Independence('sex', outcome='hired')
>>> Independence("sex", outcome="hired", given="outcome").label
'prediction ⊥ sex | hired'
"""

from __future__ import annotations

import networkx as nx

from pcm.errors import ArgumentError, UnknownNameError
from pcm.requirement.requirement import check_tolerance

__all__ = ["Independence"]


class Independence:
    """Independence of the prediction from a variable, under the observational law.

    Parameters
    ----------
    source : str
    outcome : str
    given : "outcome", optional
        Then the independence is within each value of the outcome (equalised odds).
    tolerance : float
        The largest covariance per variance of the source that still counts as none.

    Examples
    --------
    >>> import pcm
    >>> pcm.Independence("sex", outcome="hired") == pcm.demographic_parity("sex", outcome="hired")
    True
    """

    def __init__(self, source: str, *, outcome: str, given: str | None = None, tolerance: float = 0.0) -> None:
        if not isinstance(source, str) or not isinstance(outcome, str):
            raise ArgumentError(f"Independence({source!r}, outcome={outcome!r}): two names of variables are needed.")
        if source == outcome:
            raise ArgumentError(f"'{outcome}' is both source and outcome; a requirement is on another variable.")
        if given not in (None, "outcome"):
            raise ArgumentError(f"given={given!r}: None (demographic parity) or 'outcome' (equalised odds).")
        check_tolerance(tolerance)
        self.source, self.outcome, self.given, self.tolerance = source, outcome, given, float(tolerance)

    def check(self, graph: nx.DiGraph) -> None:
        """Raise unless both variables are in the graph."""
        for name in (self.source, self.outcome):
            if name not in graph:
                raise UnknownNameError(name, known=list(graph))

    @property
    def label(self) -> str:
        """Short words."""
        return f"prediction ⊥ {self.source}" + (f" | {self.outcome}" if self.given else "")

    def _key(self) -> tuple[object, ...]:
        return self.source, self.outcome, self.given, self.tolerance

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Independence) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        given = f", given={self.given!r}" if self.given else ""
        slack = f", tolerance={self.tolerance!r}" if self.tolerance else ""
        return f"Independence({self.source!r}, outcome={self.outcome!r}{given}{slack})"
