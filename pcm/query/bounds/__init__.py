"""Bounds on causal quantities over everything that the graph and the data leave open."""

from __future__ import annotations

from pcm.query.bounds.asking import bounds as bounds
from pcm.query.bounds.question import Atom as Atom
from pcm.query.bounds.question import Query as Query
from pcm.query.bounds.question import Term as Term
from pcm.query.bounds.result import Bounds as Bounds

__all__ = ["Atom", "Bounds", "Query", "Term", "bounds"]
