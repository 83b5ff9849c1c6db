"""The loggers by name, and by the file of a user's own."""

from pathlib import Path
from typing import TypeVar

from bpsta_cli.errors import SettingsError, did_you_mean
from bpsta_cli.packages import require
from bpsta_cli.reading import UnreadableError, content
from bpsta_cli.tracking.rows import Logger

_loggers: dict[str, type[Logger]] = {}
METHODS = ("start", "epoch", "finish")
L = TypeVar("L")


def register(logger: type[L]) -> type[L]:
    """Class decorator: make a logger known to `make` under its `name`.

    The class takes no arguments, and may name the package that it needs: `needs`.

    Raises:
        SettingsError: no name, one that is in use, or a method that is missing.
    """
    name = vars(logger).get("name")
    missing = [method for method in METHODS if not callable(getattr(logger, method, None))]
    if not isinstance(name, str) or not name or name in _loggers or missing:
        raise SettingsError(
            f"unusable logger {logger.__name__}",
            expected=f"a class attribute `name`, a word other than {', '.join(_loggers)}; and {', '.join(METHODS)}",
            got=f"no {missing[0]}" if missing else f"name {name!r}",
            todo="docs/logging.md has an example.",
        )
    _loggers[name] = logger  # type: ignore[assignment] # its methods are there
    return logger


def names() -> tuple[str, ...]:
    """Names of all registered loggers."""
    return tuple(_loggers)


def make(name: str) -> Logger:
    """The logger of this name, or of the Python file of this path, which is run.

    A path must come from the user of this process: the file is code.

    Raises:
        SettingsError: an unknown name, an unusable file, or a package that is not installed.
    """
    if name.endswith(".py"):
        name = _name_in(Path(name))
    if name not in _loggers:
        raise SettingsError(
            "unknown logger",
            expected=f"one of {', '.join(names())}, or the path of a .py file that registers one",
            got=f'"{name}"',
            todo=did_you_mean(name, names(), otherwise="Take one of these."),
        )
    logger = _loggers[name]
    package = getattr(logger, "needs", None)
    if package is not None:
        require(package)
    return logger()


def _name_in(file: Path) -> str:
    """Run the file; the name of the one logger that it registers."""
    try:
        source = content(file)
    except UnreadableError as broken:
        raise SettingsError(
            "missing logger file", expected="a Python file", got=f"{file}: {broken.got}", todo="Check the path."
        ) from None
    before, failure = names(), None
    try:
        exec(compile(source, file, "exec"), {"__name__": file.stem, "__file__": str(file)})
    except Exception as error:
        failure = error
    new = [name for name in names() if name not in before]
    if failure is None and len(new) == 1:
        return new[0]
    for name in new:
        del _loggers[name]
    raise SettingsError(
        f"unusable logger file {file.name}",
        expected="a Python file that registers exactly one logger",
        got=f"{type(failure).__name__}: {failure}" if failure else f"{len(new)} loggers registered",
        todo="Put `@tracking.register` on one class; docs/logging.md has an example.",
    ) from failure
