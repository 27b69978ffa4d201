"""Moved to `charts`."""

from mixreg.report.charts import reliability_figure

__all__ = ["reliability_figure"]
