"""pipelines/audit.py: a weakness is a failure, and not having looked is told as such."""

import json
import subprocess

import audit
import pytest
import typer
from typer.testing import CliRunner

APP = typer.Typer()
APP.command()(audit.main)
SAFE = {"name": "a", "version": "1", "vulns": []}
WEAK = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3", "4"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("out", "told", "code"),
    [
        (json.dumps({"dependencies": [SAFE, WEAK]}), "b 2: PYSEC-1, mended in 3, 4\n2 packages looked up, 1 weak", 1),
        (json.dumps({"dependencies": [SAFE, UNKNOWN]}), "1 packages looked up, 0 weaknesses\nnot looked up, as the", 0),
        ("", "not looked: pip-audit did not get through (ConnectionError: no route)", 0),
        ("[]", "not looked: pip-audit did not get through", 0),
    ],
)
def test_what_pip_audit_says_is_told(out, told, code, monkeypatch):
    done = subprocess.CompletedProcess([], 1, stdout=out, stderr="Traceback\nConnectionError: no route\n")
    monkeypatch.setattr(audit, "find_spec", lambda name: object())
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    result = CliRunner().invoke(APP, [])
    assert told in result.output
    assert result.exit_code == code


def test_without_pip_audit_it_says_so_and_is_no_failure(monkeypatch):
    monkeypatch.setattr(audit, "find_spec", lambda name: None)
    result = CliRunner().invoke(APP, [])
    assert "not looked: pip-audit is not installed" in result.output
    assert result.exit_code == 0
