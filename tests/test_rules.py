"""Rules: their numbers, their registry. The gradients through time are in kernels/."""

import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar

import pytest
import torch

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError


@pytest.fixture
def own_registry(monkeypatch):
    """A copy of the registry, so that what a test registers is gone after it."""
    monkeypatch.setattr(rules, "_rules", dict(rules._rules))


def test_importing_the_rules_loads_no_torch():
    code = "import sys, bpsta_cli.rules as r; r.make('stbp'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_eq_9_gives_one_over_u_where_it_fired_and_exactly_zero_elsewhere():
    u = torch.tensor([-4.0, -0.0, 0.0, 0.25, 0.5, 2.0, 1e30], dtype=torch.float64)
    o = (u >= 0.5).to(u.dtype)
    for name in ("bpsa", "bpsta"):
        assert rules.make(name).spike_gradient(u, o, 0.5).tolist() == [0, 0, 0, 0, 2, 0.5, 1 / 1e30]


def test_a_rule_leaves_the_tensors_it_is_given_alone():
    u = torch.linspace(-1, 2, 7)
    o = (u >= 0.5).float()
    for name in ("stbp", "bpsa", "bpsta"):
        rule = rules.make(name)
        given = u.clone(), o.clone()
        slope = rule.spike_gradient(u, o, 0.5)
        kept = slope.clone()
        rule.reset_gradient(u, o, slope)
        assert torch.equal(u, given[0])
        assert torch.equal(o, given[1])
        assert torch.equal(slope, kept)


def test_the_three_rules_are_registered_and_ann_is_not():
    assert {"stbp", "bpsa", "bpsta"} <= set(rules.names())
    assert "ann" not in rules.names()


def test_make_hands_each_rule_the_settings_that_concern_it():
    settings = {"alpha": 0.7, "surrogate": "gaussian", "surrogate_width": 2.0, "detach_reset": True}
    assert rules.make("bpsta", **settings) == rules.BPSTA(alpha=0.7)
    assert rules.make("bpsa", **settings) == rules.BPSA()
    assert rules.make("stbp", **settings) == rules.STBP("gaussian", 2.0, detach_reset=True)


def test_rules_are_values_equal_by_content_and_frozen():
    assert rules.make("bpsta") == rules.make("bpsta", alpha=0.2) != rules.make("bpsta", alpha=0.3)
    assert rules.make("bpsta", alpha=0.0) != rules.make("bpsa")
    with pytest.raises(FrozenInstanceError):
        rules.make("bpsta").alpha = 1.0


def test_an_unknown_rule_is_told_with_the_list_and_the_nearest_name():
    with pytest.raises(SettingsError) as told:
        rules.make("BPSTAA")
    listed = ", ".join(rules.names())
    assert str(told.value) == (
        f"unknown rule: expected one of {listed}, or the path of a .py file that registers one, "
        'got "BPSTAA". Did you mean bpsta?'
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"alpha": -0.1}, "unusable alpha: expected a finite number >= 0, got -0.1."),
        ({"alpha": math.nan}, "unusable alpha: expected a finite number >= 0, got nan."),
        ({"alpha": math.inf}, "unusable alpha: expected a finite number >= 0, got inf."),
    ],
)
def test_an_unusable_alpha_is_told(settings, text):
    with pytest.raises(SettingsError) as told:
        rules.make("bpsta", **settings)
    assert text in str(told.value)


def test_an_unusable_surrogate_or_width_is_told():
    with pytest.raises(SettingsError) as told:
        rules.make("stbp", surrogate="gausian")
    assert str(told.value) == (
        "unknown surrogate: expected one of rectangular, polynomial, sigmoid, gaussian, "
        'got "gausian". Did you mean gaussian?'
    )
    for width in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SettingsError, match="unusable surrogate_width: expected a finite number > 0"):
            rules.make("stbp", surrogate_width=width)


def test_registering_needs_a_name_of_its_own_and_the_method(own_registry):
    with pytest.raises(SettingsError, match=r"unusable name of rule Nameless: .* got None"):

        @rules.register
        class Nameless(rules.BPSA):  # inherits "bpsa", which is not its own
            pass

    with pytest.raises(SettingsError, match=r"unusable name of rule Again: .* got 'bpsa'"):

        @rules.register
        class Again(rules.BPSA):
            name: ClassVar[str] = "bpsa"

    with pytest.raises(SettingsError, match='unfinished rule "empty": expected a method spike_gradient'):

        @rules.register
        class Empty(rules.Rule):
            name: ClassVar[str] = "empty"


def test_a_registered_rule_is_made_by_name_with_the_settings_it_names(own_registry):
    @rules.register
    @dataclass(frozen=True)
    class Constant(rules.Rule):
        name: ClassVar[str] = "constant"
        alpha: float = 9.0

        def spike_gradient(self, u, o, threshold):
            return u * 0 + self.alpha

    assert rules.names()[-1] == "constant"
    assert rules.make("constant", alpha=0.5, surrogate="none of its business") == Constant(alpha=0.5)


FILE = """
from typing import ClassVar
from bpsta_cli import rules

@rules.register
class Mine(rules.BPSA):
    name: ClassVar[str] = "{name}"
"""


def test_a_file_is_run_once_and_its_rule_is_taken(own_registry, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE.format(name="mine"))
    first, second = rules.make(str(file)), rules.make(str(file))
    assert type(first) is type(second)
    assert first.name == "mine"
    assert rules.make("mine") == first


def test_a_missing_rule_file_is_told(tmp_path):
    with pytest.raises(SettingsError, match=r"missing rule file: expected a Python file, got no file at .*no\.py"):
        rules.make(str(tmp_path / "no.py"))


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("x = 1", "got 0 rules registered"),
        (FILE.format(name="a") + FILE.format(name="b"), "got 2 rules registered"),
        (FILE.format(name="half") + "1 / 0", "got ZeroDivisionError: division by zero"),
        (FILE.format(name="bpsta"), "got SettingsError: unusable name of rule Mine"),
    ],
)
def test_an_unusable_rule_file_is_told_and_leaves_nothing_registered(text, got, own_registry, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(text)
    before = rules.names()
    with pytest.raises(SettingsError, match=r"unusable rule file mine\.py: expected a Python file that") as told:
        rules.make(str(file))
    assert got in str(told.value)
    assert "docs/own-rule.md" in str(told.value)
    assert rules.names() == before


def test_a_mended_rule_file_loads(own_registry, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("x = 1")
    with pytest.raises(SettingsError):
        rules.make(str(file))
    file.write_text(FILE.format(name="mended") + "# longer, so that no cached bytecode is taken for it\n")
    assert rules.make(str(file)).name == "mended"
