"""What the texts claim, what the runs have for it, and a verdict by one rule: the first table of the report."""

from bpsta_cli.reporting.claims.table import NAME, table

__all__ = ["NAME", "table"]
