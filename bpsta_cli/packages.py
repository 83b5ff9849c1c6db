"""Which packages are needed for what, so that a command says in one line which to add. Imports none of them."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """One that this package imports.

    Attributes:
        module: what is imported.
        distribution: what pip installs.
        needed_for: what cannot be done without it, as a noun phrase.
    """

    module: str
    distribution: str
    needed_for: str

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install {self.distribution}"

    def version(self) -> str:
        """The version that is here; empty where it is not."""
        try:
            there = importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            there = False
        try:
            return importlib.metadata.version(self.distribution) if there else ""
        except importlib.metadata.PackageNotFoundError:  # a copy that nothing has installed
            return "of no known version"


OPTIONAL = (
    Package("torchvision", "torchvision", "the data sets mnist, fashion-mnist, cifar10 and cifar100"),
    Package("tonic", "tonic", "the event data sets n-mnist, dvs-gesture and dvs-cifar10"),
    Package("torchaudio", "torchaudio", "the data set speech-commands"),
    Package("soundfile", "soundfile", "reading sound"),
    Package("PIL", "pillow", "reading images"),
    Package("matplotlib", "matplotlib", "figures"),
    Package("jinja2", "jinja2", "the page of bpsta report"),
    Package("dvc", "dvc", "make repro, the pipeline over params.yaml"),
)
"""What a small install may leave out; the whole one has all of it."""
NEEDED = (
    Package("torch", "torch", "everything"),
    Package("numpy", "numpy", "everything"),
    Package("pydantic", "pydantic", "everything"),
    Package("yaml", "pyyaml", "params.yaml"),
    Package("pandas", "pandas", "history.csv and tables"),
    Package("safetensors", "safetensors", "weights"),
    Package("platformdirs", "platformdirs", "the cache folder"),
    Package("filelock", "filelock", "one training at a time in a run directory"),
    Package("sklearn", "scikit-learn", "the embedded data sets, and every division of samples"),
)
"""What every install has beside the command line's own (typer and rich)."""


def missing(error: BaseException) -> Package | None:
    """The package whose absence an error tells of; None where it tells of something else."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    root = (error.name or "").partition(".")[0]
    return next((package for package in (*NEEDED, *OPTIONAL) if package.module == root), None)
