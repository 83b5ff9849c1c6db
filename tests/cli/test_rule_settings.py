"""The settings of learning rules on the command line: `bpsta rules`, `--alpha` and the like, `--rule-option`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from bpsta_cli import rules
from bpsta_cli.cli.main import run
from bpsta_cli.cli.schema import rule_section
from bpsta_cli.rules import registry

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "leaky_gradient.py")
TINY = ["train", "--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--epochs", "1", "--threads", "1"]


def json_of(capsys, arguments):
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def recorded(data, tmp_path):
    """Train with these options; the rule's settings as the run's settings.json holds them."""

    def train(*options):
        assert run([*TINY, *options, "--data-dir", str(data), "--out", str(tmp_path / "run")]) == 0
        return json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]["rule"]

    return train


def test_the_rules_and_their_settings_are_listed(capsys):
    found = {row["name"]: row for row in json_of(capsys, ["rules"])["rules"]}
    assert list(found)[:3] == ["stbp", "bpsa", "bpsta"]
    assert [each["name"] for each in found["stbp"]["settings"]] == ["surrogate", "surrogate_width", "detach_reset"]
    assert found["bpsa"]["settings"] == []
    (alpha,) = found["bpsta"]["settings"]
    assert (alpha["kind"], alpha["default"], alpha["values"]) == ("float", 0.2, "a finite number >= 0")
    assert "Wu et al. 2018" in found["stbp"]["about"]


def test_a_rule_file_explains_its_settings(capsys):
    (found,) = json_of(capsys, ["rules", EXAMPLE])["rules"]
    assert (found["name"], found["file"]) == ("leaky-gradient", EXAMPLE)
    assert [(each["name"], each["default"]) for each in found["settings"]] == [("leak", 0.1)]
    assert run(["rules", "bpsta"]) == 0
    assert "error crosses a spike in time" in " ".join(capsys.readouterr().out.split())


def test_a_rule_of_the_users_own_trains_from_its_file_with_its_setting_and_tables_have_its_name(
    recorded, data, tmp_path, capsys
):
    assert recorded("--method", EXAMPLE, "--rule-option", "leak=0.2") == {"leak": 0.2}
    found = json_of(capsys, ["eval", str(tmp_path / "run"), "--data-dir", str(data)])
    assert found["method"] == "leaky-gradient"
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["method"] == "leaky-gradient"


def test_a_run_records_the_defaults_of_a_rule_file(recorded):
    assert recorded("--method", EXAMPLE) == {"leak": 0.1}


@pytest.mark.parametrize("key", [EXAMPLE, "leaky-gradient"])
def test_params_yaml_has_the_settings_of_a_rule_file_and_an_option_overrides_them(key, recorded, tmp_path):
    file = tmp_path / "params.yaml"
    entry = {"network": "4C3-AP8-10Voting", "epochs": 1, "warmup_epochs": 0, "batch_size": 64}
    file.write_text(yaml.safe_dump({"methods": {key: {"leak": 0.3}}, "datasets": {"digits": entry}}))
    named = ["--params", str(file), "--method", EXAMPLE]
    assert recorded(*named) == {"leak": 0.3}
    assert recorded(*named, "--overwrite", "--rule-option", "leak=0.4") == {"leak": 0.4}


def test_several_settings_are_given_by_option_and_by_name(recorded):
    given = ["--surrogate", "gaussian", "--detach-reset", "--rule-option", "surrogate_width=2"]
    assert recorded("--method", "stbp", *given) == {
        "surrogate": "gaussian",
        "surrogate_width": 2.0,
        "detach_reset": True,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--method", "stbp", "--alpha", "0.1"],
            "--alpha is no option of method stbp: expected --method bpsta, got --method stbp. Leave --alpha out; "
            "bpsta rules lists what each rule takes.",
        ),
        (["--surrogate", "gaussian"], "--surrogate is no option of method bpsta: expected --method stbp"),
        (["--method", "ann", "--alpha", "0.1"], "no option of method ann: expected --method bpsta"),
        (["--rule-option", "leek=1"], "--rule-option leek is no option of method bpsta: expected one of alpha"),
        (["--method", "bpsa", "--rule-option", "leek=1"], "expected none: it has no settings"),
        (["--rule-option", "alpha"], "expected --rule-option NAME=VALUE, each NAME once, got 'alpha'"),
        (["--alpha", "0.1", "--rule-option", "alpha=0.2"], "got alpha twice"),
        (["--rule-option", "alpha=-1"], "expected rule.alpha: a finite number >= 0, got -1.0"),
        (["--rule-option", "alpha=much"], "expected rule.alpha: a finite number >= 0, got 'much'"),
        (["--method", EXAMPLE, "--rule-option", "leak=-1"], "leak: a finite number >= 0, got -1.0"),
        (["--method", "bptt", "--alpha", "1"], "unknown method"),
    ],
)
def test_a_setting_that_the_method_does_not_have_or_cannot_use_is_refused(options, message, data, capsys, tmp_path):
    capsys.readouterr()
    assert run([*TINY, *options, "--data-dir", str(data), "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_every_setting_of_the_packages_rules_is_an_option_with_its_default_and_limits(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for rule in (rules.STBP, rules.BPSA, rules.BPSTA):
        for each in rules.settings_of(rule):
            (line,) = [line for line in text.splitlines() if f" --{each.name.replace('_', '-')} " in line]
            assert f"(method {rule.name}; default: {str(each.default).lower()}" in line
    assert "(method bpsta; default: 0.2; >= 0)" in text


def test_a_rule_that_is_registered_has_its_options_and_nothing_else_is_written_for_it(monkeypatch):
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))

    @rules.register
    @dataclass(frozen=True)
    class Leaky(rules.BPSTA):
        name: ClassVar[str] = "leaky"
        steps: int = rules.setting(3, "steps that leak", ge=1, lt=9)

    options = {option.name: option for option in rule_section("Rule").options}
    assert options["alpha"].methods == ("bpsta", "leaky")
    steps = options["steps"]
    assert (steps.kind, steps.default, steps.limits, steps.methods) == (int, "3", (">= 1", "< 9"), ("leaky",))


def test_a_rule_of_the_users_own_goes_by_its_registered_name_in_tables(recorded, data, tmp_path, capsys):
    recorded("--method", EXAMPLE)
    found = json_of(capsys, ["eval", str(tmp_path / "run"), "--data-dir", str(data)])
    assert found["method"] == "leaky-gradient"
