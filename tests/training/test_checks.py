import pytest

from bpsta_cli.errors import DataError, RunError, SettingsError
from bpsta_cli.training import check


def test_names_are_checked_before_any_data_are_read(settings, tmp_path):
    check(settings())
    check(settings(method="ann"))
    with pytest.raises(DataError, match="digit"):
        check(settings(dataset="digit"))
    with pytest.raises(SettingsError, match=r"one of .*ann, or a file with a rule.*'backprop'"):
        check(settings(method="backprop"))
    with pytest.raises(SettingsError):
        check(settings(method=str(tmp_path / "none.py")))
    with pytest.raises(RunError, match="not a run"):
        check(settings(init_from=str(tmp_path)))
