"""A rule's file that a test runs is known in that test alone."""

import pytest

from bpsta_cli.rules import registry


@pytest.fixture(autouse=True)
def _no_test_leaves_a_rule_behind(monkeypatch):
    for name in ("_rules", "_files", "_hashes"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
