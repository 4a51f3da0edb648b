"""Reports: self-contained HTML, and pictures of effects, units, posteriors and worlds."""

from __future__ import annotations

from pcm.figures.plots import density as density
from pcm.figures.plots import interval_rows as interval_rows
from pcm.figures.plots import marginals as marginals
from pcm.figures.plots import unit_contrast as unit_contrast
from pcm.figures.plots import worlds as worlds
from pcm.report.html import Picture as Picture
from pcm.report.html import Report as Report
from pcm.report.html import Table as Table

__all__ = ["Picture", "Report", "Table", "density", "interval_rows", "marginals", "unit_contrast", "worlds"]
