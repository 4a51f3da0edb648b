"""Reports: self-contained HTML, and pictures of effects, units, posteriors and worlds."""

from __future__ import annotations

from pcm.report.html import Picture as Picture
from pcm.report.html import Report as Report
from pcm.report.html import Table as Table
from pcm.report.plots import density as density
from pcm.report.plots import interval_rows as interval_rows
from pcm.report.plots import marginals as marginals
from pcm.report.plots import unit_contrast as unit_contrast
from pcm.report.plots import worlds as worlds

__all__ = ["Picture", "Report", "Table", "density", "interval_rows", "marginals", "unit_contrast", "worlds"]
