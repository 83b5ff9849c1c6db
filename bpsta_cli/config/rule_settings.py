"""The settings that a learning rule owns, held against the rule's own fields."""

from collections.abc import Container

from pydantic import ValidationInfo

from bpsta_cli import rules
from bpsta_cli.config.validation import place_of, unknown_key
from bpsta_cli.errors import SettingsError

RuleSettings = dict[str, rules.Value]
OLD_RECORD = {"alpha", "surrogate", "surrogate_width", "detach_reset"}
"""What every run recorded of its rule, whatever it was, before a rule owned its settings."""


def settings_of_method(method: str, values: RuleSettings, key: str, info: ValidationInfo) -> RuleSettings:
    """All settings of a method. A rule that is not known yet, as of a file that was not run, is not looked into."""
    rule = rules.known(method)
    if rule is None and method != rules.TWIN:
        return values
    where = place_of(info)
    own = {} if rule is None else {each.name: each for each in rules.settings_of(rule)}
    values = of_its_own(own, values)
    for name, value in values.items():
        if name not in own:
            raise unknown_key(f"{key}.{name}", own, where)
        try:
            own[name].read(value)
        except SettingsError as refused:
            raise SettingsError(
                f"unusable value in {where}",
                expected=f"{key}.{name}: {refused.expected}",
                got=refused.got,
                todo=f"Correct {key}.{name}.",
            ) from None
    return {name: each.read(values.get(name, each.default)) for name, each in own.items()}


def of_its_own(own: Container[str], values: RuleSettings) -> RuleSettings:
    """`values`, less what an old record holds of other rules."""
    old = values.keys() == OLD_RECORD
    return {name: value for name, value in values.items() if name in own or not old}
