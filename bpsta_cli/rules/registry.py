"""The rules by name, and by the file of a user's own: registered, found and made with their settings."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from bpsta_cli.errors import SettingsError, did_you_mean
from bpsta_cli.reading import UnreadableError, content
from bpsta_cli.rules.rule import Rule
from bpsta_cli.rules.settings import Value, settings_of

TWIN = "ann"
"""The method that is no rule: the same structure with the neurons left out, the network's ReLU twin."""
_rules: dict[str, type[Rule]] = {}
_files: dict[Path, str] = {}
"""The rule files that were run, and the name of each one's rule."""
_hashes: dict[str, str] = {}
"""Rules that came from a file, and the SHA-256 of what was run."""
R = TypeVar("R", bound=Rule)


def register(rule: type[R]) -> type[R]:
    """Class decorator: make `rule` known to `make` under its `name`.

    Raises:
        SettingsError: the class has no name, lacks `spike_gradient`, takes a name that is in use, or has a
            setting that cannot be one.
    """
    name = vars(rule).get("name")  # its own: one that is inherited names the parent
    if not isinstance(name, str) or not name or name in (*_rules, TWIN):
        raise SettingsError(
            f"unusable name of rule {rule.__name__}",
            expected=f"a class attribute `name`, a word other than {', '.join((*names(), TWIN))}",
            got=repr(name),
            todo='Write `name: ClassVar[str] = "..."` in the class.',
        )
    if inspect.isabstract(rule):
        raise SettingsError(
            f'unfinished rule "{name}"',
            expected="a method spike_gradient(self, u, o, threshold)",
            got=f"a class {rule.__name__} without it",
            todo="Write the method; docs/own-rule.md has an example.",
        )
    _check_settings(rule)
    _rules[name] = rule
    return rule


def _check_settings(rule: type[Rule]) -> None:
    """Refuse a class with a setting that cannot be one, or with annotations that no dataclass made fields of."""
    settings_of(rule)
    plain = "__dataclass_fields__" not in vars(rule) and [
        name for name, kind in inspect.get_annotations(rule).items() if "ClassVar" not in str(kind)
    ]
    if plain:
        raise SettingsError(
            f"unusable setting {plain[0]} of rule {rule.__name__}",
            expected="a field of a dataclass",
            got="an attribute that nothing can set",
            todo=f"Write @dataclass(frozen=True) above class {rule.__name__}.",
        )


def names() -> tuple[str, ...]:
    """Names of all registered rules, in the order of their registration."""
    return tuple(_rules)


def known(name: str) -> type[Rule] | None:
    """The rule of this name, or of the file of this path if it was run before; runs nothing."""
    if name.endswith(".py"):
        name = _files.get(Path(name).resolve(), "")
    return _rules.get(name)


def file_hash(name: str) -> str:
    """SHA-256 of the file that a rule came from, as it was run; empty of a rule that came from none."""
    rule = known(name)
    return "" if rule is None else _hashes.get(rule.name, "")


def file_of(rule: type[Rule]) -> Path | None:
    """The file that a rule came from, as it was run; None of a rule that came from none."""
    return next((file for file, name in _files.items() if name == rule.name), None)


def with_hash(sha256: str) -> type[Rule] | None:
    """The rule that came from a file of this hash; None: no such file was run."""
    return next((_rules[name] for name, digest in _hashes.items() if digest == sha256 and name in _rules), None)


def find(name: str, *, sha256: str | None = None) -> type[Rule]:
    """The rule of this name; the path of a Python file, which is run once in a process, stands for its rule.

    A path must come from the user of this process, and from no file that was read: `registered` is for those.

    Args:
        name: one of `names()`, or a path that ends in ".py".
        sha256: what a file must be; None: whatever it is.

    Raises:
        SettingsError: unknown name, unusable file, or another file than `sha256` says, which is not run.
    """
    if name.endswith(".py") and known(name) is None:
        _register_file(Path(name).resolve(), sha256)
    rule = registered(name)
    if sha256 is not None and file_hash(name) != sha256:
        raise _another_file(name, sha256, file_hash(name))
    return rule


def registered(name: str) -> type[Rule]:
    """The rule of this name, or of the file of this path if it was run before; runs nothing.

    Raises:
        SettingsError: unknown name, or a file that was not run.
    """
    rule = known(name)
    if rule is not None:
        return rule
    if name.endswith(".py"):
        raise SettingsError(
            "a rule file that was not named",
            expected="its path on the command line: --method FILE, or --trust-rule FILE for a run that is there",
            got=f"{name} in the settings alone",
            todo="Read the file first: it is code. In Python, call rules.find(FILE) before.",
        )
    raise SettingsError(
        "unknown rule",
        expected=f"one of {', '.join(names())}, or the path of a .py file that registers one",
        got=f'"{name}"',
        todo=did_you_mean(name, names(), otherwise="Take one of these."),
    )


def make(name: str | Rule, **values: Value) -> Rule:
    """A rule with its settings, the defaults where none is given.

    Args:
        name: a name or file that `find` takes; or a Rule, which is handed back as it is.
        values: settings of the rule, such as alpha=0.2.

    Raises:
        SettingsError: unknown name, unusable file, a setting that the rule does not have or that is out of its
            limits; a setting beside a Rule, which has its own.
    """
    if not isinstance(name, Rule):
        rule = find(name)
        return rule(**read(rule, values))
    if values:
        raise SettingsError(
            "settings beside a rule that is made",
            expected="a rule by name, or its settings in the rule alone",
            got=f"{name} and {', '.join(values)}",
            todo=f"Write {type(name).__name__}({', '.join(f'{key}={value!r}' for key, value in values.items())}).",
        )
    return name


def read(rule: type[Rule], values: Mapping[str, object]) -> dict[str, Value]:
    """All settings of a rule, those in `values` as a command line or a YAML file gives them.

    Raises:
        SettingsError: one that the rule does not have, or that is out of its limits.
    """
    own = {each.name: each for each in settings_of(rule)}
    for name in values:
        if name not in own:
            others = rules_with(name)
            raise SettingsError(
                f"unknown setting of rule {rule.name}",
                expected=f"one of {', '.join(own)}" if own else "no setting: it has none",
                got=f"{name}, which {' and '.join(others)} {'has' if len(others) == 1 else 'have'}" if others else name,
                todo=did_you_mean(name, own, otherwise="Remove it or correct its spelling."),
            )
    return {name: each.read(values.get(name, each.default)) for name, each in own.items()}


def rules_with(setting: str) -> tuple[str, ...]:
    """Names of the registered rules that have a setting of this name."""
    return tuple(name for name, rule in _rules.items() if setting in {each.name for each in settings_of(rule)})


def sha256_of(file: str | Path) -> str:
    """SHA-256 of a rule file, which is not run.

    Raises:
        SettingsError: there is no such file.
    """
    return hashlib.sha256(_source(Path(file))).hexdigest()


def _source(path: Path) -> bytes:
    try:
        return content(path)
    except UnreadableError as broken:
        raise SettingsError(
            "missing rule file",
            expected="a Python file",
            got=f"{path}: {broken.got}",
            todo=f"Check the path, or take one of {', '.join(names())}.",
        ) from None


def _register_file(path: Path, sha256: str | None) -> None:
    """Run the file and keep the name of the one rule it registers."""
    source = _source(path)
    digest = hashlib.sha256(source).hexdigest()
    if sha256 is not None and digest != sha256:
        raise _another_file(path, sha256, digest)
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None  # a path that ends in .py always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses looks its module up while the class is being made
    before, failure = names(), None
    try:
        # what was hashed is what runs: the loader would read the file again, or compiled code beside it
        exec(compile(source, path, "exec"), vars(module))
    except Exception as error:
        failure = error
    new = [name for name in names() if name not in before]
    if failure is None and len(new) == 1:
        _files[path], _hashes[new[0]] = new[0], digest
        return
    for name in new:  # a file that failed leaves nothing behind, so that it can be mended and loaded again
        del _rules[name]
    raise SettingsError(
        f"unusable rule file {path.name}",
        expected="a Python file that registers exactly one rule",
        got=f"{type(failure).__name__}: {failure}" if failure else f"{len(new)} rules registered",
        todo="Put `@rules.register` on one class; docs/own-rule.md has an example.",
    ) from failure


def _another_file(file: str | Path, expected: str, got: str) -> SettingsError:
    return SettingsError(
        "another rule file",
        expected=f"the one with SHA-256 {expected}",
        got=f"{file} with {got}",
        todo="It was not run. Take the file as it was when the run was trained.",
    )
