"""A project whose runs are made by jobs."""

from pathlib import Path

import cluster_project as project
import pytest
import receipts
import repro
from cluster_board import Board
from small_studies import STAND_IN, line, write_params

from bpsta_cli.config import load_params


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A project of three runs of two recipes, none made; stages are stand-ins, and DVC only notes what it is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stage.py").write_text(STAND_IN)
    write_params(tmp_path / "params.yaml", [line("a", "stbp"), line("b", "bpsa")], [line("a", "ann")], "a", "b")
    study = load_params(Path("params.yaml"))
    every = {f"prepare@{name}" for name in study.datasets}
    every |= {repro.stage_of(study, name) for name in study.runs}
    told = []
    monkeypatch.setattr(project, "STAGE", "stage.py")
    monkeypatch.setattr(project, "dvc", lambda *arguments: told.append(arguments))
    monkeypatch.setattr(project, "enter", lambda made: (every.difference_update(made), told.append(("commit", *made))))
    monkeypatch.setattr(repro, "changed_stages", lambda: set(every))
    monkeypatch.setattr(receipts, "holds", lambda file, stage, now: file.is_file())
    board = Board(tmp_path / "logs")
    board.told = told
    return board
