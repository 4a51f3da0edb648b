"""Figures: arrays to pictures, with matplotlib's object interface; they know nothing of programs.

>>> from pcm.figures import density, worlds
"""

from __future__ import annotations

from pcm.figures.plots import density as density
from pcm.figures.plots import interval_rows as interval_rows
from pcm.figures.plots import marginals as marginals
from pcm.figures.plots import unit_contrast as unit_contrast
from pcm.figures.plots import worlds as worlds

__all__ = ["density", "interval_rows", "marginals", "unit_contrast", "worlds"]
