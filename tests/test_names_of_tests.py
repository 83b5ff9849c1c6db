"""Names of test files: pytest refuses to collect two of one name, and then runs no test at all."""

from collections import Counter
from pathlib import Path


def test_no_two_files_of_tests_have_the_same_name():
    names = Counter(file.name for file in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
