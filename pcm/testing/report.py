"""What a conformance test looked at: one line a law, with the worst that was found.

>>> report = Report("a coin")
>>> with report.law("it lands"):
...     report.within("sides", 0.0, 0.1)
>>> print(report)
a coin: 1 law kept
>>> report.to_dict()
{'it lands': 'sides 0 of at most 0.1'}
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy import stats

from pcm.notebook import Shown

__all__ = ["Report", "same_law"]


class Report(Shown):
    """Laws kept and broken; made by :func:`check_coupling` and :func:`check_program`.

    Attributes
    ----------
    subject : str
        What was checked.
    kept : dict of law to str
        Laws that held, with the worst of what was measured.
    broken : dict of law to str
        Laws that did not, with what was found.
    skipped : dict of law to str
        Laws that do not apply, with the reason.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.kept: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self._worst: dict[str, tuple[float, float]] = {}

    def __str__(self) -> str:
        count = len(self.kept)
        words = f"{count} law{'s' * (count != 1)} kept"
        return f"{self.subject}: {words}" + (f", {len(self.broken)} broken" if self.broken else "")

    def __repr__(self) -> str:
        return str(self)

    def to_dict(self) -> dict[str, str]:
        """All laws with what was found."""
        return {**self.kept, **self.broken}

    @contextmanager
    def law(self, name: str) -> Iterator[None]:
        """Run the checks of one law; whatever fails in it is recorded, and the next law still runs."""
        self._worst = {}
        try:
            yield
        except Exception as error:  # a user's coupling may fail in any way, and each is a finding
            self.broken[name] = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        else:
            if name not in self.broken:
                worst = [f"{what} {found:.2g} of at most {limit:g}" for what, (found, limit) in self._worst.items()]
                self.kept[name] = "; ".join(worst) if worst else "held"

    def skip(self, name: str, reason: str) -> None:
        """Note that a law does not apply."""
        self.skipped[name] = reason

    def within(self, what: str, found: float, limit: float) -> None:
        """One measurement of the law at hand: ``found`` must not exceed ``limit`` (nor be NaN)."""
        before = self._worst.get(what, (0.0, limit))[0]
        self._worst[what] = max(before, found), limit
        if not found <= limit:
            raise AssertionError(f"{what}: {found:.6g}, which may be {limit:g} at most")

    def holds(self, what: str, fact: bool) -> None:
        """One fact of the law at hand that must be true."""
        if not fact:
            raise AssertionError(what)

    def settle(self) -> Report:
        """The report itself, or an AssertionError that lists what was broken."""
        if self.broken:
            found = "\n".join(f"  {law}: {what}" for law, what in self.broken.items())
            raise AssertionError(f"{self}\n{found}")
        return self


def same_law(first: np.ndarray, second: np.ndarray) -> float:
    """p-value of two samples of numbers coming from one law (Kolmogorov-Smirnov; conservative where values repeat)."""
    found: Any = stats.ks_2samp(first, second, method="asymp")
    return float(found.pvalue)
