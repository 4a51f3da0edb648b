"""Unobserved values of units: their space, their posterior, draws of it.

>>> from pcm.infer.latent import Space
"""

from __future__ import annotations

from pcm.infer.latent.between import Between as Between
from pcm.infer.latent.integration import nodes as nodes
from pcm.infer.latent.marginal import Marginal as Marginal
from pcm.infer.latent.posterior import METHODS as METHODS
from pcm.infer.latent.posterior import MOST as MOST
from pcm.infer.latent.posterior import LatentPosterior as LatentPosterior
from pcm.infer.latent.posterior import infer_latent as infer_latent
from pcm.infer.latent.space import Space as Space

__all__ = ["METHODS", "MOST", "Between", "LatentPosterior", "Marginal", "Space", "infer_latent", "nodes"]
