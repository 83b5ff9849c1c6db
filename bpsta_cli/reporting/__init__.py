"""Results into tables and figures; loads no torch."""

from bpsta_cli.reporting.overview import told
from bpsta_cli.reporting.parts import Figure, Table
from bpsta_cli.reporting.report import Report, write_report

__all__ = ["Figure", "Report", "Table", "told", "write_report"]
