"""Identification: is an effect fixed by what is observed, by which formula, and if not, why not. networkx only.

>>> from pcm.graph.identify import identify
"""

from __future__ import annotations

from pcm.graph.identify.algorithm import Hedge as Hedge
from pcm.graph.identify.expression import Expression as Expression
from pcm.graph.identify.identification import Identification as Identification
from pcm.graph.identify.search import identify as identify

__all__ = ["Expression", "Hedge", "Identification", "identify"]
