"""The report of a run: one HTML page that needs nothing beside it, and its figures as PNG."""

from sciml.report.page import write_report
from sciml.report.plots import figure, save_figure, style

__all__ = ["figure", "save_figure", "style", "write_report"]
