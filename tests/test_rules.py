"""Rules: their numbers, their registry. The gradients through time are in kernels/."""

import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field
from typing import ClassVar

import pytest
import torch

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError
from bpsta_cli.rules import registry
from bpsta_cli.rules.settings import KINDS, Setting


@pytest.fixture
def own_registry(monkeypatch):
    """A copy of the registry, so that what a test registers is gone after it."""
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))


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


def test_make_hands_a_rule_its_settings_and_refuses_those_of_others():
    assert rules.make("bpsta", alpha=0.7) == rules.BPSTA(alpha=0.7)
    assert rules.make("bpsa") == rules.BPSA()
    gaussian = {"surrogate": "gaussian", "surrogate_width": 2.0, "detach_reset": True}
    assert rules.make("stbp", **gaussian) == rules.STBP("gaussian", 2.0, detach_reset=True)
    with pytest.raises(SettingsError) as refused:
        rules.make("bpsa", alpha=0.7)
    assert str(refused.value) == (
        "unknown setting of rule bpsa: expected no setting: it has none, got alpha, which bpsta has. "
        "Remove it or correct its spelling."
    )
    with pytest.raises(SettingsError, match=r"one of alpha, got alhpa\. Did you mean alpha\?"):
        rules.make("bpsta", alhpa=0.7)


def test_a_rule_that_is_made_is_taken_as_it_is_and_with_no_settings_beside_it():
    rule = rules.BPSTA(0.3)
    assert rules.make(rule) is rule
    with pytest.raises(SettingsError, match=r"Write BPSTA\(alpha=0\.5\)\."):
        rules.make(rule, alpha=0.5)


def test_rules_are_values_equal_by_content_and_frozen():
    assert rules.make("bpsta") == rules.make("bpsta", alpha=0.2) != rules.make("bpsta", alpha=0.3)
    assert rules.make("bpsta", alpha=0.0) != rules.make("bpsa")
    with pytest.raises(FrozenInstanceError):
        rules.make("bpsta").alpha = 1.0


def test_an_unknown_rule_is_refused_with_the_list_and_the_nearest_name():
    with pytest.raises(SettingsError) as refused:
        rules.make("BPSTAA")
    listed = ", ".join(rules.names())
    assert str(refused.value) == (
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
def test_an_unusable_alpha_is_refused(settings, text):
    with pytest.raises(SettingsError) as refused:
        rules.make("bpsta", **settings)
    assert text in str(refused.value)


def test_an_unusable_surrogate_or_width_is_refused():
    with pytest.raises(SettingsError) as refused:
        rules.make("stbp", surrogate="gausian")
    assert str(refused.value) == (
        "unknown surrogate: expected one of rectangular, polynomial, sigmoid, gaussian, "
        "got 'gausian'. Did you mean gaussian?"
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


def test_a_registered_rule_is_made_by_name_with_settings_of_its_own(own_registry):
    @rules.register
    @dataclass(frozen=True)
    class Constant(rules.Rule):
        name: ClassVar[str] = "constant"
        slope: float = rules.setting(9.0, "do/du of every neuron", gt=0, le=10)

        def spike_gradient(self, u, o, threshold):
            return u * 0 + self.slope

    assert rules.names()[-1] == "constant"
    assert rules.make("constant", slope=0.5) == Constant(slope=0.5)
    assert rules.rules_with("slope") == ("constant",)
    for make in (lambda slope: Constant(slope=slope), lambda slope: rules.make("constant", slope=slope)):
        for slope in (0, 10.5, True, "steep", None):
            with pytest.raises(SettingsError, match=r"unusable slope: expected a finite number > 0 and <= 10, got"):
                make(slope)


def test_a_name_of_the_twin_is_no_name_of_a_rule(own_registry):
    with pytest.raises(SettingsError, match=r"a word other than stbp, bpsa, bpsta, .*ann, got 'ann'"):

        @rules.register
        class Twin(rules.BPSA):
            name: ClassVar[str] = "ann"


def test_a_setting_that_nothing_could_set_is_refused_when_the_rule_is_registered(own_registry):
    with pytest.raises(SettingsError, match=r"setting leak of rule Plain: .* Write @dataclass\(frozen=True\) above"):

        @rules.register
        class Plain(rules.BPSA):
            name: ClassVar[str] = "plain"
            leak: float = 0.1

    with pytest.raises(SettingsError, match=r"setting widths of rule Many: .* got widths: list"):

        @rules.register
        @dataclass(frozen=True)
        class Many(rules.BPSA):
            name: ClassVar[str] = "many"
            widths: list = field(default_factory=list)

    with pytest.raises(SettingsError, match=r"setting leak of rule Needy: .* got leak: float without a default"):

        @rules.register
        @dataclass(frozen=True)
        class Needy(rules.BPSA):
            name: ClassVar[str] = "needy"
            leak: float

    assert rules.names() == ("stbp", "bpsa", "bpsta", *rules.names()[3:])
    assert not {"plain", "many", "needy"} & set(rules.names())


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (float, "1e-4", 1e-4),
        (float, 1, 1.0),
        (int, "3", 3),
        (bool, "True", True),
        (bool, "false", False),
        (str, "1", "1"),
    ],
)
def test_a_setting_reads_what_a_command_line_or_a_file_gives(kind, text, value):
    found = Setting("it", kind, kind(), "", {}, ()).read(text)
    assert (found, type(found)) == (value, kind)


@pytest.mark.parametrize(
    ("kind", "value"), [(float, "much"), (float, "nan"), (int, "1.5"), (int, 1.5), (bool, "1"), (bool, 1), (str, 1)]
)
def test_a_setting_refuses_a_value_of_another_kind(kind, value):
    with pytest.raises(SettingsError, match=f"unusable it: expected {KINDS[kind]}, got"):
        Setting("it", kind, kind(), "", {}, ()).read(value)


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


def test_a_missing_rule_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"missing rule file: expected a Python file, got .*no\.py: no such file"):
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
def test_an_unusable_rule_file_is_refused_and_leaves_nothing_registered(text, got, own_registry, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(text)
    before = rules.names()
    with pytest.raises(SettingsError, match=r"unusable rule file mine\.py: expected a Python file that") as refused:
        rules.make(str(file))
    assert got in str(refused.value)
    assert "docs/own-rule.md" in str(refused.value)
    assert rules.names() == before


def test_a_mended_rule_file_loads(own_registry, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("x = 1")
    with pytest.raises(SettingsError):
        rules.make(str(file))
    file.write_text(FILE.format(name="mended") + "# longer, so that no cached bytecode is taken for it\n")
    assert rules.make(str(file)).name == "mended"
