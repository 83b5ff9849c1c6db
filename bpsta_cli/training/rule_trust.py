"""Whether the code of a run's learning rule may be run: a run's directory is data, and a rule file is code."""

from collections.abc import Iterable
from pathlib import Path

from bpsta_cli import rules
from bpsta_cli.errors import RunError


def rule_of(method: str, sha256: str, run: Path, trusted: Iterable[Path]) -> type[rules.Rule] | None:
    """The class of a run's learning rule; None for the twin. What the run names is never run for its name's sake.

    Args:
        method: of the run's settings.
        sha256: of the file that the run was trained with, as the run records it.
        run: its directory, for the error.
        trusted: files that the user names; the one with that hash is run, wherever it lies.

    Raises:
        RunError: the rule is not registered, and none of the files is the run's.
        SettingsError: a trusted file is missing or unusable.
    """
    if method == rules.TWIN:
        return None
    # one that was run before in this process was run at the user's word
    found = rules.with_hash(sha256) if sha256 else rules.known(method)
    if found is not None and rules.file_hash(found.name) == sha256:
        return found
    files = {rules.sha256_of(file): file for file in trusted}
    if sha256 and sha256 in files:
        return rules.find(str(files[sha256]), sha256=sha256)
    raise _refused(method, sha256, run, files) if method.endswith(".py") else _not_registered(method, run)


def _refused(method: str, sha256: str, run: Path, files: dict[str, Path]) -> RunError:
    if not sha256:
        return RunError(
            "a run without the hash of its rule file",
            expected="the SHA-256 of the file that it was trained with, in settings.json",
            got=f"none in {run}, trained with {method}",
            todo="Train it again, or in Python give the rule's class: load(run, rule=ItsClass).",
        )
    given = ", ".join(f"{file} with {digest}" for digest, file in files.items())
    return RunError(
        "a run of a rule file that was not named" if not files else "another rule file than the run's",
        expected=f"--trust-rule FILE (in Python trust_rule=FILE), the file with SHA-256 {sha256}",
        got=given or f"{run}, trained with {method}",
        todo="Nothing was run. "
        + ("Find the file as it was then." if files else f"Read {Path(method).name}: it is code. Then name it."),
    )


def _not_registered(method: str, run: Path) -> RunError:
    return RunError(
        "a run of a learning rule that is not registered",
        expected=f"one of {', '.join((*rules.names(), rules.TWIN))}, or the rule's class",
        got=f"{run}, trained with {method}",
        todo="Import its class, and give it: load(run, rule=ItsClass).",
    )
