"""The posterior over a program's parameters: every method one skeleton, every answer with its diagnostics."""

from __future__ import annotations

from pcm.infer.laplace import Laplace
from pcm.infer.map import MAP
from pcm.infer.method import METHODS, Method, method
from pcm.infer.nuts import NUTS
from pcm.infer.posterior import Posterior
from pcm.infer.svi import SVI
from pcm.infer.target import Target

__all__ = ["MAP", "METHODS", "NUTS", "SVI", "Laplace", "Method", "Posterior", "Target", "method"]
