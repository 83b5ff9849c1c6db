"""Whatever lies where a file should be is refused in the house's shape, or read; nothing breaks or hangs."""

import pytest
from file_damages import Damage, damages
from file_readers import READERS, Reader
from outcomes import outcome

CASES = [
    pytest.param(reader, damage, id=f"{reader.name}: {damage.name}")
    for damage in damages([(reader.name, reader.kind) for reader in READERS])
    for reader in READERS
    if not damage.only or reader.name in damage.only
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_good_file_is_read(reader, tmp_path):
    file = tmp_path / reader.file
    file.write_bytes(reader.good())
    assert outcome(lambda: reader.read(file)) == "accepted"


@pytest.mark.parametrize(("reader", "damage"), CASES)
def test_a_bad_file_is_refused_in_the_houses_shape(reader: Reader, damage: Damage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "of a user" / reader.file
    file.parent.mkdir()
    damage.put(file, reader.good())
    found = outcome(lambda: reader.read(file))
    assert not found.startswith("broken")
    if damage.refused:
        assert found.startswith("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["of a user"]
