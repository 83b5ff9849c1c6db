"""Whatever lies where a file should be is refused in the house's shape, or read; nothing breaks or hangs."""

import pytest
from file_damages import damages
from file_readers import READERS
from outcomes import outcome

DAMAGES = list(damages([(reader.name, reader.kind) for reader in READERS]))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_good_file_is_read_and_a_bad_one_refused_in_the_houses_shape(reader, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good, wrong = reader.good(), {}
    for number, damage in enumerate(each for each in DAMAGES if not each.only or reader.name in each.only):
        file = tmp_path / f"{number}" / reader.file
        file.parent.mkdir()
        damage.put(file, good)
        found = outcome(lambda file=file: reader.read(file))
        if found.startswith("broken") or (damage.refused and not found.startswith("refused")):
            wrong[damage.name] = found
    assert wrong == {}
    (tmp_path / reader.file).write_bytes(good)
    assert outcome(lambda: reader.read(tmp_path / reader.file)) == "accepted"
    assert not (tmp_path / "broken").exists()


def test_the_table_has_more_than_a_thousand_cases():
    assert sum(len(damage.only) or len(READERS) for damage in DAMAGES) > 1000
