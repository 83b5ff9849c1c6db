import pytest

from bpsta_cli.config import DatasetSettings
from bpsta_cli.data.run_data import prepared_store
from bpsta_cli.errors import DataError

SETTINGS = DatasetSettings(network="small", epochs=1, warmup_epochs=0, batch_size=1)


def test_the_data_of_a_run_are_prepared_where_they_are_missing(tmp_path):
    calls = []
    store = prepared_store("digits", SETTINGS, T=3, data_dir=tmp_path, progress=lambda *step: calls.append(step))
    assert (store.dataset, len(store.split("test"))) == ("digits", 360)
    assert calls
    again = prepared_store("digits", SETTINGS, T=9, data_dir=tmp_path, expected_hash=store.content_hash)
    assert again.content_hash == store.content_hash


def test_other_data_than_the_runs_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"other data than the run was trained on.*content hash 0123456789ab,"):
        prepared_store("digits", SETTINGS, T=3, data_dir=tmp_path, expected_hash="0123456789abcdef")


def test_a_trained_run_needs_its_store_and_not_the_files_that_it_was_made_from(tmp_path):
    store = prepared_store("digits", SETTINGS, T=3, data_dir=tmp_path)
    gone = SETTINGS.model_copy(update={"source": str(tmp_path / "gone")})
    assert prepared_store("digits", gone, T=3, data_dir=tmp_path, expected_hash=store.content_hash).path == store.path
    with pytest.raises(DataError, match="gone"):
        prepared_store("digits", gone, T=3, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("changed", "got"),
    [({"size": 4, "test_fraction": 0.5}, "size 4, test fraction 0.5"), ({"source": "nowhere"}, "nowhere")],
)
def test_the_settings_of_the_data_set_are_taken(tmp_path, changed, got):
    chosen = SETTINGS.model_copy(update=changed)
    with pytest.raises(DataError, match=f"got {got}"):
        prepared_store("digits", chosen, T=3, data_dir=tmp_path)
