"""Whether a run gives the same bytes again: trained and measured once more, and compared with what is there."""

from bpsta_cli.verification.again import Verdict, store_of, verify
from bpsta_cli.verification.record import Record, read_record
from bpsta_cli.verification.sample import spread

__all__ = ["Record", "Verdict", "read_record", "spread", "store_of", "verify"]
