"""Moved to `charts`."""

from mixreg.report.charts import outline

__all__ = ["outline"]
