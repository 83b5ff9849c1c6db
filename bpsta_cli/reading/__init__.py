"""The one place that opens a file which somebody gave: kind, size and form are checked before memory is taken.

    regular      regular files alone, up to a size that its kind never has          content, opened, sha256, text
    documents    JSON, YAML and CSV: depth, number of values, length of numbers     json_object, numbers, table, yaml
    arrays       .npy and .npz: the declared arrays against what is there           mapped_npy, npy, npz, npz_names
    tensors      safetensors: the header against the file's size                    safetensors
    hdf5         HDF5: lengths and places against the file's size                   piece, structure

Every refusal is an `UnreadableError`, which a reader may turn into an error of its own.
"""

from bpsta_cli.reading.regular import (
    ARRAYS,
    DOCUMENT,
    IMAGE,
    MIB,
    RECORDING,
    SOUND,
    WEIGHTS,
    MissingError,
    UnreadableError,
    content,
    opened,
    sha256,
    text,
    unreadable,
)

__all__ = [
    "ARRAYS",
    "DOCUMENT",
    "IMAGE",
    "MIB",
    "RECORDING",
    "SOUND",
    "WEIGHTS",
    "MissingError",
    "UnreadableError",
    "content",
    "opened",
    "sha256",
    "text",
    "unreadable",
]
