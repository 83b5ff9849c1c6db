"""What docs/library.md shows runs, in its order."""

import re
import warnings
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def test_the_pages_lines_run_one_after_another_and_no_part_is_longer_than_it_promises(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says of a trace what is constant in it
        for block in blocks:
            exec(block, found)
            assert len([line for line in block.splitlines() if line and "import" not in line]) <= 5
    assert found["same"] == [True, True, True]
    assert found["spikes"].shape == (8, 64, 10)
    assert found["votes"].shape == (64, 10)
