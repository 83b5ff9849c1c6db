"""Where a path is meant a text will do, in whatever of the library takes one."""

import importlib
import inspect
import shutil
from pathlib import Path

import pytest

from bpsta_cli import training
from bpsta_cli.data.run_data import prepared_store, rebin
from bpsta_cli.data.store import open_store, store_path, store_with
from bpsta_cli.errors import SettingsError

PARTS = [
    "config",
    "data.run_data",
    "data.single_file",
    "data.store",
    "reporting",
    "reporting.any_runs",
    "reporting.runs_report",
    "rules",
    "sharing",
    "tracking",
    "training",
    "tuning.space",
    "tuning.study",
    "verification",
]
RULE = Path(__file__).parents[2] / "examples" / "leaky_gradient.py"


def functions(part):
    """What a user may call of a module: the names that it offers, or its own."""
    module = importlib.import_module(f"bpsta_cli.{part}")
    offered = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    found = [(name, getattr(module, name)) for name in offered]
    own = [(name, each) for name, each in found if callable(each) and each.__module__.startswith("bpsta_cli")]
    return own if hasattr(module, "__all__") else [pair for pair in own if pair[1].__module__ == module.__name__]


def arguments(function):
    """The types of the arguments, as they are written; of a record none, which the library makes."""
    if inspect.isclass(function) and hasattr(function, "__dataclass_fields__"):
        return []
    made = inspect.signature(function).parameters.values()
    kinds = [each.annotation for each in made]
    return [kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind)) for kind in kinds]


@pytest.mark.parametrize("part", PARTS)
def test_no_function_asks_for_a_path_and_refuses_a_text(part):
    found = [(name, kind) for name, each in functions(part) for kind in arguments(each) if "Path" in kind]
    assert [(name, kind) for name, kind in found if "str" not in kind] == []


def test_the_search_for_such_functions_finds_them():
    assert {name for name, each in functions("data.store") if any("Path" in kind for kind in arguments(each))} >= {
        "open_store",
        "prepare",
        "store_path",
        "store_with",
    }


def test_data_are_prepared_and_found_again_by_a_text(tmp_path):
    settings = training.settings("digits", T=2)
    store = prepared_store("digits", settings.data, T=2, data_dir=str(tmp_path))
    again = prepared_store("digits", settings.data, T=2, data_dir=str(tmp_path), expected_hash=store.content_hash)
    assert again.path == store.path == store_path(str(tmp_path), "digits", settings.data.preparation(2))
    assert store_with(str(tmp_path), "digits", store.content_hash).path == store.path
    assert open_store(str(store.path)).content_hash == store.content_hash
    assert rebin(store, settings.data, T=2, data_dir=str(tmp_path)).path == store.path


def test_a_path_may_stand_where_a_setting_is_a_text(tmp_path):
    shutil.copy(RULE, tmp_path / "leaky.py")
    settings = training.settings("digits", T=2, method=tmp_path / "leaky.py", leak=0.2)
    assert settings.method == str(tmp_path / "leaky.py")
    with pytest.raises(SettingsError, match="expected"):
        training.settings("digits", T=tmp_path)
