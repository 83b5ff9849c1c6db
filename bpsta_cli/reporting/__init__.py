"""Results into tables and figures; loads no torch."""

from bpsta_cli.reporting.artifacts import Figure, Table
from bpsta_cli.reporting.overview import describe_missing
from bpsta_cli.reporting.report import Report, write_report

__all__ = ["Figure", "Report", "Table", "describe_missing", "write_report"]
