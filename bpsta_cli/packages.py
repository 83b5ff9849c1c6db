"""Which packages are needed for what, and the one line that says which to add. Imports none of them."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass

from bpsta_cli.errors import BpstaError, SettingsError


@dataclass(frozen=True)
class Package:
    """One that this package imports.

    Attributes:
        module: what is imported.
        distribution: what pip installs.
        needed_for: what cannot be done without it, as a noun phrase.
        extra: the extra of this package that brings it; empty where it is no extra's.
    """

    module: str
    distribution: str
    needed_for: str
    extra: str = ""

    @property
    def command(self) -> str:
        """What installs it."""
        return f'pip install "bpsta-cli[{self.extra}]"' if self.extra else f"pip install {self.distribution}"

    def is_here(self) -> bool:
        """Whether it can be found; it may yet fail to load."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

    def version(self) -> str:
        """The version that is here; empty where it is not."""
        try:
            return importlib.metadata.version(self.distribution) if self.is_here() else ""
        except importlib.metadata.PackageNotFoundError:  # a copy that nothing has installed
            return "of no known version"

    def lacking(self, kind: type[BpstaError] = SettingsError) -> BpstaError:
        """The error, of this kind, that tells of its absence."""
        return kind(
            "missing package",
            expected=f"{self.distribution} for {self.needed_for}",
            got="an install without it",
            todo=f"Run `{self.command}`.",
        )


OPTIONAL = (
    Package("torchvision", "torchvision", "the data sets mnist, fashion-mnist, cifar10, cifar100 and dvs-cifar10"),
    Package("tonic", "tonic", "the event data sets n-mnist, dvs-gesture, n-caltech101, shd and ssc"),
    Package("h5py", "h5py", "reading the data sets shd and ssc"),
    Package("torchaudio", "torchaudio", "the data set speech-commands"),
    Package("soundfile", "soundfile", "reading sound"),
    Package("PIL", "pillow", "reading images"),
    Package("matplotlib", "matplotlib", "figures"),
    Package("jinja2", "jinja2", "the page of bpsta report"),
    Package("dvc", "dvc", "make repro, the pipeline over params.yaml"),
)
"""What a small install may leave out; the whole one has all of it."""
EXTRAS = (
    Package("optuna", "optuna", "bpsta tune", extra="study"),
    Package("onnx", "onnx", "bpsta export --format onnx", extra="onnx"),
    Package("onnxruntime", "onnxruntime", "bpsta export --format onnx, which runs what it wrote", extra="onnx"),
    Package("nir", "nir", "bpsta export --format nir", extra="nir"),
    Package("nirtorch", "nirtorch", "bpsta export --format nir, which runs what it wrote", extra="nir"),
    Package("huggingface_hub", "huggingface-hub", "runs on the Hugging Face Hub", extra="hub"),
    Package("dvclive", "dvclive", "bpsta train --log dvclive", extra="dvclive"),
    Package("tensorboard", "tensorboard", "bpsta train --log tensorboard", extra="tensorboard"),
    Package("wandb", "wandb", "bpsta train --log wandb", extra="wandb"),
    Package("mlflow", "mlflow", "bpsta train --log mlflow", extra="mlflow"),
    Package("submitit", "submitit", "pipelines/cluster.py", extra="cluster"),
)
"""What only an extra of this package brings."""
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
    return _known(error.name or "")


def require(module: str, kind: type[BpstaError] = SettingsError) -> None:
    """See to it that a module can be imported, without doing so.

    Args:
        module: its name, with those of the packages around it; it may be one that no table here has.
        kind: the error to raise.

    Raises:
        BpstaError: of this kind, where its package is not there.
    """
    package = _known(module) or Package(module, module.partition(".")[0], "code of your own")
    if not package.is_here():
        raise package.lacking(kind)


def _known(module: str) -> Package | None:
    root = module.partition(".")[0]
    return next((package for package in (*NEEDED, *OPTIONAL, *EXTRAS) if package.module == root), None)
