"""Other packages absent, and the variants of this one."""

import pytest

from benchmarks import peers, variants


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setattr(peers, "IMPORTS", dict.fromkeys(peers.IMPORTS, "no_such_package"))


@pytest.fixture
def ours():
    return {variant.name: variant for variant in variants.catalogue() if not variant.package}
