"""Requirements against a model: which can coexist, why not, and at what price.

>>> from pcm.trust import check
"""

from __future__ import annotations

from pcm.trust.check import check as check
from pcm.trust.conflicts import Conflict as Conflict
from pcm.trust.partial import PartialVerdict as PartialVerdict
from pcm.trust.verdict import Verdict as Verdict

__all__ = ["Conflict", "PartialVerdict", "Verdict", "check"]
