"""Model criticism: posterior predictive checks, noise against its law and its inputs, the graph's independencies.

>>> from pcm.query.criticism import Criticism, criticise
"""

from __future__ import annotations

from pcm.query.criticism.criticise import criticise as criticise
from pcm.query.criticism.independence import Baseline as Baseline
from pcm.query.criticism.mechanisms import Check as Check
from pcm.query.criticism.result import Criticism as Criticism

__all__ = ["Baseline", "Check", "Criticism", "criticise"]
