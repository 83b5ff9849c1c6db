"""Results into tables and figures; loads no torch."""

from bpsta_cli.reporting.report import Report, write_report

__all__ = ["Report", "write_report"]
