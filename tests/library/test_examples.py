"""Every example runs, as a user would run it; those with another package's layers where that is installed."""

import importlib.util
import json
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "tour.ipynb"
RUNS = {
    "own_rule.py": [[]],
    "own_data.py": [["images"], ["events"], ["sounds"], ["series"]],
    "own_network_energy.py": [[]],
    "spikingjelly_model.py": [[]],
    "snntorch_model.py": [[]],
}
"""Each script, and the arguments that it is run with."""
NEEDS = {"spikingjelly_model.py": "spikingjelly", "snntorch_model.py": "snntorch"}


def needed(package):
    """A mark for what runs where `package` is installed."""
    missing = package is not None and importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: pip install -e .[peers,notebook]")


def test_every_script_is_run_here():
    assert set(RUNS) | {"leaky_gradient.py"} == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        pytest.param(script, arguments, marks=needed(NEEDS.get(script)), id=" ".join([script, *arguments]))
        for script, runs in RUNS.items()
        for arguments in runs
    ],
)
def test_an_example_runs_and_says_what_it_found(script, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    shown = capsys.readouterr().out
    assert "accuracy" in shown or "nJ a sample" in shown


def test_the_notebook_is_kept_executed_with_its_pictures_and_small():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert NOTEBOOK.read_text(encoding="utf-8").count('"image/png"') >= 3
    assert NOTEBOOK.stat().st_size < 200_000


@needed("nbmake")
def test_the_notebook_runs(tmp_path):
    command = [sys.executable, "-m", "pytest", "--nbmake", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    copy = tmp_path / NOTEBOOK.name
    copy.write_bytes(NOTEBOOK.read_bytes())
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
