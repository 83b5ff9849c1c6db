"""The data sets `bpsta` knows: one row each. Imports nothing heavy, so that listing them is instant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bpsta_cli.data.class_names import CIFAR100
from bpsta_cli.errors import DataError, did_you_mean

Kind = Literal["image", "events", "speech"]
_DIGITS = tuple(str(digit) for digit in range(10))
_GESTURES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
_CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_KRIZHEVSKY = "Krizhevsky, Learning multiple layers of features from tiny images, technical report, Toronto, 2009"


# fmt: off
_WORDS_0_01 = (
    "bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy", "house", "left",
    "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop", "three",
    "tree", "two", "up", "wow", "yes", "zero",
)
# fmt: on
_WORDS = tuple(sorted((*_WORDS_0_01, "backward", "follow", "forward", "learn", "visual")))


@dataclass(frozen=True)
class Recipe:
    """What `bpsta train` uses for a data set when the settings name nothing else.

    Attributes:
        network: the structure, in the paper's notation or as a structure's name.
        epochs: passes over the training split, the warm-up included.
        warmup_epochs: of these, the first, trained as the ReLU twin.
        batch_size: samples a step.
        augmentation: the preset that changes training samples (see `augmentation`).
        size: side of event frames in pixels, None for the sensor's own.
    """

    network: str
    epochs: int
    warmup_epochs: int
    batch_size: int
    augmentation: Literal["none", "standard"] = "none"
    size: int | None = None


@dataclass(frozen=True)
class Dataset:
    """One data set: what it is, where it comes from, and how its stored integers become an input.

    Attributes:
        name: what a command calls it.
        title: what a reader calls it.
        kind: "image" (one array, the same at every time step), "events" (frames of event counts) or "speech"
            (log-mel features in time).
        shape: (C, H, W) of one time step; for events C is the polarity: 0 off, 1 on; for speech H are mel
            bands and W spectra.
        classes: the labels' names; label i is classes[i].
        counts: samples in the whole (training, test) split, to tell a partial copy by.
        split: which split it is, in words.
        source: where the data comes from.
        licence: its licence.
        citation: what to cite.
        embedded: nothing is downloaded.
        scale: multiplies the stored integers to give the network's input.
        loader: "module:function" that finds the files (see `sources.Source`).
        recipe: defaults for training.
        checksums: file -> MD5 or SHA-256, as the library that downloads it publishes them.
        sizes: file -> bytes, where they are known.
        raw: what a download leaves under raw/: files and folders.
        mirrors: every class keeps its meaning when a sample is mirrored left to right, so that augmentation
            may do it: clothes do; digits, and gestures of a left and a right hand, do not.
        note: what else a reader should know.
        older_classes: the classes of an older version that is accepted as well; empty if there is none.
        synthetic: made by this package; said wherever a number stands, first of all by the name.
        own: the user's own files: kind, shape, classes and recipe come from them (`folder.describe`).
    """

    name: str
    title: str
    kind: Kind
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    counts: tuple[int, int]
    split: str
    source: str
    licence: str
    citation: str
    embedded: bool
    scale: float
    loader: str
    recipe: Recipe
    checksums: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    raw: tuple[str, ...] = ()
    mirrors: bool = False
    note: str = ""
    older_classes: tuple[str, ...] = ()
    synthetic: bool = False
    own: bool = False

    @property
    def disclosure(self) -> str:
        """What is to be said beside a number from this data set; nothing for recorded data."""
        return f"{self.name} is synthetic: simulated, not recorded" if self.synthetic else ""


_ROWS = (
    Dataset(
        name="digits",
        title="Optical digits, 8 x 8",
        kind="image",
        shape=(1, 8, 8),
        classes=_DIGITS,
        counts=(1437, 360),
        split="no official split: stratified 80/20, scikit-learn's train_test_split with random_state 0",
        source="scikit-learn's load_digits: the 1,797 test images of UCI optdigits, 0..16 grey levels",
        licence="CC BY 4.0",
        citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi:10.24432/C50P49",
        embedded=True,
        scale=1 / 16,
        loader="bpsta_cli.data.datasets.mnist:digits",
        recipe=Recipe("16C3-32C3-MP2-64C3-AP4-10Voting", epochs=20, warmup_epochs=4, batch_size=64),
    ),
    Dataset(
        name="mnist",
        title="MNIST",
        kind="image",
        shape=(1, 28, 28),
        classes=_DIGITS,
        counts=(60_000, 10_000),
        split="official",
        source="http://yann.lecun.com/exdb/mnist/, through torchvision.datasets.MNIST",
        licence="CC BY-SA 3.0",
        citation="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document "
        "recognition, Proc. IEEE 86(11), 1998, doi:10.1109/5.726791",
        embedded=False,
        scale=1 / 255,
        loader="bpsta_cli.data.datasets.mnist:mnist",
        recipe=Recipe("small", epochs=10, warmup_epochs=2, batch_size=128),
        checksums={
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        sizes={
            "train-images-idx3-ubyte.gz": 9_912_422,
            "train-labels-idx1-ubyte.gz": 28_881,
            "t10k-images-idx3-ubyte.gz": 1_648_877,
            "t10k-labels-idx1-ubyte.gz": 4_542,
        },
        raw=("MNIST",),
    ),
    Dataset(
        name="fashion-mnist",
        title="Fashion-MNIST",
        kind="image",
        shape=(1, 28, 28),
        classes=_CLOTHES,
        counts=(60_000, 10_000),
        split="official",
        source="https://github.com/zalandoresearch/fashion-mnist, through torchvision.datasets.FashionMNIST",
        licence="MIT",
        citation="Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine "
        "learning algorithms, 2017, arXiv:1708.07747",
        embedded=False,
        scale=1 / 255,
        loader="bpsta_cli.data.datasets.mnist:fashion_mnist",
        recipe=Recipe("16C3-MP2-32C3-AP2-10Voting", epochs=10, warmup_epochs=2, batch_size=128),
        checksums={
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        mirrors=True,
        sizes={
            "train-images-idx3-ubyte.gz": 26_421_880,
            "train-labels-idx1-ubyte.gz": 29_515,
            "t10k-images-idx3-ubyte.gz": 4_422_102,
            "t10k-labels-idx1-ubyte.gz": 5_148,
        },
        raw=("FashionMNIST",),
    ),
    Dataset(
        name="cifar10",
        title="CIFAR-10",
        kind="image",
        shape=(3, 32, 32),
        classes=_THINGS,
        counts=(50_000, 10_000),
        split="official",
        source="https://www.cs.toronto.edu/~kriz/cifar.html, through torchvision's downloader",
        licence="not stated by its authors",
        citation=_KRIZHEVSKY,
        embedded=False,
        scale=1 / 255,
        loader="bpsta_cli.data.datasets.cifar:cifar10",
        recipe=Recipe("middle", epochs=100, warmup_epochs=16, batch_size=128, augmentation="standard"),
        mirrors=True,
        checksums={"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
        sizes={"cifar-10-python.tar.gz": 170_498_071},
        raw=("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    ),
    Dataset(
        name="cifar100",
        title="CIFAR-100",
        kind="image",
        shape=(3, 32, 32),
        classes=CIFAR100,
        counts=(50_000, 10_000),
        split="official",
        source="https://www.cs.toronto.edu/~kriz/cifar.html, through torchvision's downloader",
        licence="not stated by its authors",
        citation=_KRIZHEVSKY,
        embedded=False,
        scale=1 / 255,
        loader="bpsta_cli.data.datasets.cifar:cifar100",
        recipe=Recipe("middle", epochs=100, warmup_epochs=16, batch_size=128, augmentation="standard"),
        mirrors=True,
        checksums={"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
        sizes={"cifar-100-python.tar.gz": 169_001_437},
        raw=("cifar-100-python", "cifar-100-python.tar.gz"),
        note="The 100 fine labels.",
    ),
    Dataset(
        name="n-mnist",
        title="N-MNIST",
        kind="events",
        shape=(2, 34, 34),
        classes=_DIGITS,
        counts=(60_000, 10_000),
        split="official",
        source="https://www.garrickorchard.com/datasets/n-mnist, through tonic.datasets.NMNIST",
        licence="CC BY-SA 4.0",
        citation="Orchard, Jayawant, Cohen and Thakor, Converting static image datasets to spiking "
        "neuromorphic datasets using saccades, Front. Neurosci. 9:437, 2015, doi:10.3389/fnins.2015.00437",
        embedded=False,
        scale=1.0,
        loader="bpsta_cli.data.datasets.dvs:n_mnist",
        recipe=Recipe("middle", epochs=10, warmup_epochs=2, batch_size=64),
        checksums={
            "train.zip": "20959b8e626244a1b502305a9e6e2031",
            "test.zip": "69ca8762b2fe404d9b9bad1103e97832",
        },
        raw=("NMNIST",),
    ),
    Dataset(
        name="dvs-gesture",
        title="DVS128 Gesture",
        kind="events",
        shape=(2, 128, 128),
        classes=_GESTURES,
        counts=(1176, 288),
        split="official: subjects 1-23 train, 24-29 test",
        source="https://research.ibm.com/interactive/dvsgesture/, unpacked, or laid out by SpikingJelly, "
        "or through tonic.datasets.DVSGesture",
        licence="CC BY 4.0",
        citation="Amir et al., A low power, fully event-based gesture recognition system, CVPR 2017, "
        "pp. 7243-7252, doi:10.1109/CVPR.2017.781",
        embedded=False,
        scale=1.0,
        loader="bpsta_cli.data.datasets.dvs:dvs_gesture",
        recipe=Recipe("large", epochs=100, warmup_epochs=5, batch_size=16, size=64),
        checksums={
            "ibmGestureTrain.tar.gz": "3a8f0d4120a166bac7591f77409cb105",
            "ibmGestureTest.tar.gz": "56070e45dadaa85fff82e0fbfbc06de5",
        },
        raw=("DVSGesture", "DVS128Gesture"),
        note="tonic's copy keeps one recording of each class a trial and rounds time to 1 ms; IBM's original "
        "(DvsGesture.tar.gz, MD5 8a5c71fb11e24e5ca5b11866ca6c00a1) and SpikingJelly's layout of it keep all "
        "1,176 + 288 at 1 us. State which one a number is from.",
    ),
    Dataset(
        name="dvs-cifar10",
        title="DVS-CIFAR10",
        kind="events",
        shape=(2, 128, 128),
        classes=_THINGS,
        counts=(9000, 1000),
        split="no official split: the first 90 % of each class (recordings 0 to 899) train",
        source="https://doi.org/10.6084/m9.figshare.4724671 (AEDAT 2.0), through torchvision's downloader, "
        "or laid out by SpikingJelly",
        licence="CC BY 4.0",
        citation="Li, Liu, Ji, Li and Shi, CIFAR10-DVS: an event-stream dataset for object classification, "
        "Front. Neurosci. 11:309, 2017, doi:10.3389/fnins.2017.00309",
        embedded=False,
        scale=1.0,
        loader="bpsta_cli.data.datasets.dvs:dvs_cifar10",
        recipe=Recipe("large", epochs=100, warmup_epochs=5, batch_size=16, size=64),
        checksums={
            "airplane.zip": "0afd5c4bf9ae06af762a77b180354fdd",
            "automobile.zip": "8438dfeba3bc970c94962d995b1b9bdd",
            "bird.zip": "a9c207c91c55b9dc2002dc21c684d785",
            "cat.zip": "52c63c677c2b15fa5146a8daf4d56687",
            "deer.zip": "b6bf21f6c04d21ba4e23fc3e36c8a4a3",
            "dog.zip": "f379ebdf6703d16e0a690782e62639c3",
            "frog.zip": "cad6ed91214b1c7388a5f6ee56d08803",
            "horse.zip": "e7cbbf77bec584ffbf913f00e682782a",
            "ship.zip": "41c7bd7d6b251be82557c6cce9a7d5c9",
            "truck.zip": "89f3922fd147d9aeff89e76a2b0b70a7",
        },
        raw=("CIFAR10DVS",),
        mirrors=True,
        note="tonic's own copy is AEDAT 4, which is not read; the archives fetched here are the authors'.",
    ),
    Dataset(
        name="folder",
        title="a folder of your own",
        kind="image",
        shape=(0, 0, 0),
        classes=(),
        counts=(0, 0),
        split="its train/ and test/, or a stated fraction of each class",
        source="--source DIR: one sub-folder a class, of images, event recordings or .wav files",
        licence="its owner's",
        citation="its owner's",
        embedded=True,
        scale=1 / 255,
        loader="bpsta_cli.data.datasets.folder:folder",
        recipe=Recipe("32C3-MP2-64C3-MP2-128C3-MP2-10Voting", epochs=30, warmup_epochs=5, batch_size=64),
        own=True,
    ),
    Dataset(
        name="speech-commands",
        title="Speech Commands 0.02",
        kind="speech",
        shape=(1, 32, 16),
        classes=_WORDS,
        counts=(84_843, 11_005),
        split="official: testing_list.txt tests, validation_list.txt validates, the rest trains with each class "
        "repeated to the size of the largest",
        source="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz, through "
        "torchaudio.datasets.SPEECHCOMMANDS",
        licence="CC BY 4.0",
        citation="Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, 2018, arXiv:1804.03209",
        embedded=False,
        scale=1 / 255,
        loader="bpsta_cli.data.datasets.speech_commands:speech_commands",
        recipe=Recipe("32C3-MP2-64C3-MP2-128C3-AP2-10Voting", epochs=30, warmup_epochs=5, batch_size=64),
        checksums={"speech_commands_v0.02.tar.gz": "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"},
        note="Version 0.01 (30 words, 51,088 + 6,835 clips) is read as well; say which one a number is from. "
        "The five words that 0.02 added tell them apart.",
        raw=("SpeechCommands", "speech_commands_v0.02.tar.gz"),
        older_classes=_WORDS_0_01,
    ),
    Dataset(
        name="synthetic-gestures",
        title="Synthetic gestures (simulated, not recorded)",
        kind="events",
        shape=(2, 128, 128),
        classes=_GESTURES,
        counts=(1100, 330),
        split="drawn from one distribution, 100 + 30 of each class",
        source="simulated by this package: the kinds of motion of DVS128 Gesture, 1.5 s, microseconds, noise",
        licence="MIT",
        citation="none: cite this package, and say that the data are synthetic",
        embedded=True,
        scale=1.0,
        loader="bpsta_cli.data.datasets.synthetic:synthetic_gestures",
        recipe=Recipe("16C3-MP2-32C3-MP2-64C3-AP2-10Voting", epochs=12, warmup_epochs=2, batch_size=16, size=32),
        note="Circles and waves come in pairs that are each other run backwards: neither a frame alone nor their sum "
        "tells them apart, only their order.",
        synthetic=True,
    ),
    Dataset(
        name="synthetic-speech",
        title="Synthetic speech (simulated, not recorded)",
        kind="speech",
        shape=(1, 32, 16),
        classes=("ia", "ai", "ue", "eu", "iua", "aui", "oer", "reo", "aoa", "iri"),
        counts=(1500, 500),
        split="40 simulated speakers train, 10 others test; 150 + 50 of each word",
        source="simulated by this package: ten words of vowels, 16 kHz, noise",
        licence="MIT",
        citation="none: cite this package, and say that the data are synthetic",
        embedded=True,
        scale=1 / 255,
        loader="bpsta_cli.data.datasets.synthetic:synthetic_speech",
        recipe=Recipe("32C3-MP2-32C3-MP2-64C3-AP2-128FC-10Voting", epochs=12, warmup_epochs=2, batch_size=16),
        note="Eight words are four and the same backwards: their spectra summed over time do not tell them apart.",
        synthetic=True,
    ),
)
_BY_NAME = {row.name: row for row in _ROWS}


def names() -> tuple[str, ...]:
    """The names of all data sets, in the catalogue's order."""
    return tuple(_BY_NAME)


def get(name: str) -> Dataset:
    """The row called `name`.

    Raises:
        DataError: there is none; the message lists all and suggests the nearest.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    hint = did_you_mean(name, _BY_NAME, otherwise="`bpsta prepare --list` shows what each one is.", cutoff=0.5)
    raise DataError("unknown data set", expected=f"one of {', '.join(_BY_NAME)}", got=f"'{name}'", todo=hint)
