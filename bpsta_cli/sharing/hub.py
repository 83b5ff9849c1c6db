"""Runs on the Hugging Face Hub: `hub:user/name`, or `hub:user/name@revision`."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpsta_cli.errors import BpstaError, RunError, SettingsError
from bpsta_cli.packages import require
from bpsta_cli.sharing.contents import SHARED

if TYPE_CHECKING:
    from bpsta_cli.reporting.any_runs import AnyRun

PREFIX = "hub:"
SHORT = 120
"""Letters that are told of what the Hub's client says."""
_ID = re.compile(r"hub:(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class HubId:
    """Where a run is on the Hub.

    Attributes:
        repo: "user/name".
        revision: a branch, tag or commit; None: the newest.
    """

    repo: str
    revision: str | None = None

    @classmethod
    def of(cls, text: str) -> "HubId":
        """The place that "hub:user/name@revision" names.

        Raises:
            SettingsError: it names none.
        """
        found = _ID.fullmatch(text)
        if found is None:
            raise SettingsError(
                "unusable place on the Hub",
                expected="hub:user/name, or hub:user/name@revision",
                got=text,
                todo="Correct it.",
            )
        return cls(found["id"], found["revision"])


def share_to_hub(run: "str | Path | AnyRun", where: str, *, licence: str | None = None, private: bool = False) -> str:
    """Put a run and its card into a model repository of the Hub, which is made where it is not there.

    Args:
        run: its directory, or what `finished` gave.
        where: hub:user/name.
        licence: of the weights.
        private: whether a repository that is made is private.

    Returns:
        The address of the commit.

    Raises:
        RunError: the run is not finished or damaged, or the Hub refused it.
        SettingsError: no such place, or huggingface_hub is not installed.
    """
    place = HubId.of(where)
    require("huggingface_hub")
    from huggingface_hub import HfApi

    from bpsta_cli.sharing.folder import bundle, finished
    from bpsta_cli.sharing.model_card import NAME

    found = finished(run)

    with tempfile.TemporaryDirectory(prefix="bpsta-share-") as temporary:
        name = place.repo.partition("/")[2]
        bundle(found, Path(temporary), name=name, where=f"{PREFIX}{place.repo}", licence=licence)
        with _told(where, "a repository that this account may write to"):
            api = HfApi(endpoint=_endpoint())
            api.create_repo(place.repo, private=private, exist_ok=True)
            made = api.upload_folder(
                folder_path=temporary,
                repo_id=place.repo,
                revision=place.revision,
                allow_patterns=[NAME, *SHARED],
                commit_message=f"{found.path.resolve().name}, by bpsta share",
            )
    return str(made.commit_url)


def fetch(where: str) -> Path:
    """The folder with a run of the Hub, in its own cache; only the files that a run consists of are downloaded.

    Raises:
        RunError: there is none, or the Hub is out of reach.
        SettingsError: no such place, or huggingface_hub is not installed.
    """
    place = HubId.of(where)
    require("huggingface_hub")
    from huggingface_hub import snapshot_download

    with _told(where, "a run that bpsta share put there, and a connection to it"):
        return Path(
            snapshot_download(place.repo, revision=place.revision, allow_patterns=list(SHARED), endpoint=_endpoint())
        )


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT")


@contextmanager
def _told(where: str, expected: str) -> Iterator[None]:
    """What the Hub's client raises, as an error of ours: it has many kinds, of libraries beneath it too."""
    try:
        yield
    except BpstaError:
        raise
    except Exception as error:
        told = RunError(
            f"the Hub and {where}",
            expected=expected,
            got=_in_short(error),
            todo="Check the name, the network, and the token (hf auth login).",
        )
        told.add_note(f"{type(error).__name__}: {error}")
        raise told from error


def _in_short(error: Exception) -> str:
    """The beginning of what the client says, which goes on with advice; the whole is a note of the error."""
    if type(error).__name__ == "LocalEntryNotFoundError" and isinstance(error.__cause__, Exception):
        error = error.__cause__  # "not in the cache": the reason is why the Hub was not reached
    reason = " ".join(str(error).split()).rstrip(".")
    if len(reason) > SHORT:
        reason = f"{reason[:SHORT].rpartition(' ')[0]} ..."
    return f"{type(error).__name__}: {reason}"
