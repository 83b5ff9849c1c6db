"""What may lie where a file should be: another kind of file, other bytes, a damaged one."""

import gzip
import io
import json
import os
import pickle
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

TERA = 1 << 40
GIGA = 1 << 30


@dataclass(frozen=True)
class Damage:
    """A way of putting something else in the place of a file.

    Attributes:
        name: what tests call it.
        put: puts it at a path, given the bytes of a good file.
        only: the names of the readers that it is made for; none: every reader.
        refused: it is nothing that any of its readers may accept.
    """

    name: str
    put: Callable[[Path, bytes], object]
    only: tuple[str, ...] = ()
    refused: bool = True


def bound_socket(path: Path, _good: bytes) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def sparse(size: int) -> Callable[[Path, bytes], object]:
    """A file of `size` bytes that begins as a good one and takes no room on the disk."""

    def put(path: Path, good: bytes) -> None:
        with path.open("wb") as file:
            file.write(good)
            file.truncate(size)

    return put


KINDS = (
    Damage("nothing", lambda path, good: None),
    Damage("a folder", lambda path, good: path.mkdir()),
    Damage("a pipe without a writer", lambda path, good: os.mkfifo(path)),
    Damage("a socket", bound_socket),
    Damage("/dev/zero", lambda path, good: path.symlink_to("/dev/zero")),
    Damage("/dev/full", lambda path, good: path.symlink_to("/dev/full")),
    Damage("/dev/null", lambda path, good: path.symlink_to("/dev/null")),
    Damage("a link to nothing", lambda path, good: path.symlink_to("nowhere")),
    Damage("a link to itself", lambda path, good: path.symlink_to(path.name)),
    Damage("the memory of this process", lambda path, good: path.symlink_to("/proc/self/mem")),
    Damage("20 GB of nothing after it", sparse(20 * GIGA + 3)),
    Damage("nothing of it", lambda path, good: path.write_bytes(b"")),
)

OPTIONAL = ("report settings.json of train", "report run.json of energy", "report run.json of latency")
"""Readers of files that need not be there."""
FREE_FORM = ("N-MNIST's bin",)
"""Readers to which any bytes of some length are a recording."""
TEXTS = {
    "a web page": b"<!DOCTYPE html><html><body>404 not found</body></html>!",
    "other bytes": bytes(range(255, 0, -1)) * 3,
    "a long line": b"x" * 65_536,
    "UTF-16": "name: x\n".encode("utf-16"),
    "a pickle that runs a command": pickle.dumps(os.getcwd) + b"!",
    "JSON nested 100,000 times": b"[" * 100_000,
    "an empty object": b"{}",
}
YAML_ONLY = ("params.yaml", "cost table")
JSON_TEXTS = {
    "a list": b"[]",
    "null": b"null",
    "half an object": b'{"a": ',
    "no number": b'{"a": NaN}',
    "a number without end": b'{"a": 1e999}',
    "5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "objects nested 3,000 times": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "objects nested 50 times": b'{"a":' * 50 + b"1" + b"}" * 50,
    "five million values": b'{"a":[' + b"0," * 5_000_000 + b"0]}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a zero byte": b'{"a": "\x00"}',
}
YAML_TEXTS = {
    "a date": b"datasets: 2020-01-01\nname: 2020-01-01\n",
    "dates as keys": b"2020-01-01: 1\n",
    "5,000 digits": b"name: " + b"9" * 5000,
    "base 60 of 5,000 digits": b"name: 1" + b":59" * 2500,
    "no number": b"word_bits: .nan\nneuron: {decay: .nan}",
    "a number without end": b"word_bits: .inf\nneuron: {decay: .inf}",
    "lists nested 100,000 times": b"[" * 100_000,
    "lists nested 500 times": b"a: " + b"[" * 500 + b"]" * 500,
    "blocks nested 2,000 times": b"\n".join(b" " * n + b"a:" for n in range(2000)),
    "a billion laughs": b"\n".join(
        [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        + [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)]
    ),
    "a billion merges": b"\n".join(
        [b"a0: &a0 {x: 1}"]
        + [b"a%d: &a%d {<<: [%s]}" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)]
    ),
    "a list that holds itself": b"a: &a [*a]",
    "an alias of nothing": b"a: *b",
    "a command": b"a: !!python/object/apply:os.system [touch broken]",
    "a Python object": b"a: !!python/object:pathlib.Path {}",
    "binary": b"a: !!binary aGFsbG8=",
    "a set": b"a: !!set {x}",
    "a list as a key": b"? [1]\n: 2\n",
    "null as a key": b"~: 1\n",
    "a number as a key": b"1: 1\n",
    "two documents": b"a: 1\n---\nb: 2\n",
    "tabs": b"a:\n\t- b\n",
    "text alone": b"hello",
    "a list": b"- 1\n- 2\n",
    "null": b"~",
    "a zero byte": b"a: \x00",
}
CSV_TEXTS = {
    "names alone": b"epoch,phase,train_accuracy,accuracy\n",
    "other names": b"a,b\n1,2\n",
    "text for numbers": b"epoch,phase,train_accuracy,accuracy\nx,twin,y,z\n",
    "epochs out of order": b"epoch,phase,train_accuracy,accuracy\n1,spiking,0.5,0.5\n0,spiking,0.5,0.5\n",
    "a phase that is none": b"epoch,phase,train_accuracy,accuracy\n0,magic,0.5,0.5\n",
    "an accuracy of 400 digits": b"epoch,phase,train_accuracy,accuracy\n0,spiking,0.5," + b"9" * 400 + b"\n",
    "lines of several lengths": b"epoch,phase,train_accuracy,accuracy\n0,spiking,0.5,0.5,1,2,3\n1\n",
    "a quotation without end": b'epoch,phase,train_accuracy,accuracy\n0,"spiking,0.5,0.5\n',
    "one name twice": b"epoch,epoch,phase,train_accuracy,accuracy\n0,0,spiking,0.5,0.5\n",
    "no evaluation at the end": b"epoch,phase,train_accuracy,accuracy\n0,spiking,0.5,\n",
}


def text(content: bytes) -> Callable[[Path, bytes], object]:
    return lambda path, good: path.write_bytes(content)


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An .npy file with any header."""
    padded = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(padded)) + padded + data


def described(descr: str, shape: str, order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


NPY_TEXTS = {
    "8 TiB": npy(described("'<i8'", f"({TERA}, 4)")),
    "more bytes than an address has": npy(described("'<i8'", f"({2**62}, {2**62})")),
    "no values, and more columns than an address has": npy(described("'<i8'", f"(0, {2**63 - 1})", "True")),
    "a negative length": npy(described("'<i8'", "(-4, 4)"), bytes(32)),
    "Python objects": npy(described("'|O'", "(1, 4)"), pickle.dumps([os.getcwd] * 4)),
    "fields of Python objects": npy(described("[('t', '|O'), ('x', '<i8')]", "(2,)"), bytes(32)),
    "a type of no bytes": npy(described("'|V0'", "(9, 4)")),
    "values of 8 TiB each": npy(described(f"('<i8', ({TERA},))", "(1, 4)")),
    "strings": npy(described("'<U5'", "(1, 4)"), bytes(80)),
    "times": npy(described("'<M8[us]'", "(1, 4)"), bytes(32)),
    "complex numbers": npy(described("'<c16'", "(1, 4)"), bytes(64)),
    "version 9": npy(described("'<i8'", "(1, 4)"), bytes(32), b"\x09\x00"),
    "a header that calls": npy("__import__('os').getcwd()"),
    "a header of brackets": npy("(" * 9000),
    "a header of minus signs": npy("-" * 9000 + "1"),
    "a header that is no mapping": npy("[1, 2]"),
    "a header with another key": npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 4), 'x': 1}", bytes(32)),
    "a header of 5,000 digits": npy(described("'<i8'", f"({'9' * 5000}, 4)")),
    "a shape that is no tuple": npy(described("'<i8'", "4"), bytes(32)),
    "a shape of truth values": npy(described("'<i8'", "(True, 4)"), bytes(32)),
    "thirty axes": npy(described("'<i8'", f"({'1,' * 30})"), bytes(8)),
    "a type that is none": npy(described("'<q99'", "(1, 4)"), bytes(32)),
    "a header beyond the file": b"\x93NUMPY\x01\x00\xff\xff{",
    "a header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
}
"""Files that are no array of events, whatever reads them."""


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return file.getvalue()


def with_array(member: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of events whose t is `member`."""
    file = io.BytesIO()
    np.save(file, np.zeros(3, np.int64))
    return archive({f"{key}.npy": member if key == "t" else file.getvalue() for key in "txyp"}, method)


def patched(content: bytes, old: bytes, new: bytes, last: bool = False) -> bytes:
    at = content.rindex(old) if last else content.index(old)
    return content[:at] + new + content[at + len(new) :]


def declared(size: int) -> bytes:
    """An archive of which the list of members says that t has `size` bytes."""
    good = with_array(npy(described("'<i8'", "(3,)"), bytes(24)))
    at = good.index(b"PK\x01\x02")
    return good[: at + 24] + struct.pack("<I", size) + good[at + 28 :]


def unpacking(size: int) -> bytes:
    """A small archive of which one member unpacks to `size` zero bytes."""
    head = npy(described("'<i8'", f"({size // 8},)"))
    return with_array(head + bytes(size), zipfile.ZIP_DEFLATED)


NPZ_TEXTS = {
    **{f"{name} as t": with_array(content) for name, content in NPY_TEXTS.items()},
    "no arrays": archive({}),
    "an array that is missing": archive({"t.npy": b"", "x.npy": b""}),
    "text for arrays": archive(dict.fromkeys(("t.npy", "x.npy", "y.npy", "p.npy"), b"hello")),
    "members that declare 4 GiB": declared(2**32 - 2),
    "a password": patched(patched(with_array(b"x" * 99), b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00"),
                          b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"),
    "another compression": patched(with_array(b"x" * 99), b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00",
                                   b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63\x00"),
    "bzip2 that is none": patched(with_array(b"x" * 99), b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00",
                                  b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x0c\x00"),
    "30,000 members": archive({f"{n}.npy": b"" for n in range(30_000)}),
    "a long list declared": patched(
        with_array(b"x"), b"PK\x05\x06", b"PK\x05\x06\x00\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\x7f"),
    "lengths of different arrays, half": with_array(npy(described("'<i8'", "(3,)"), bytes(12))),
    "a path upwards": archive({f"../{key}.npy": b"" for key in "txyp"}),
}  # fmt: skip


SERIES_NPZ_TEXTS = {
    **{f"{name} as x": archive({"x.npy": content}) for name, content in NPY_TEXTS.items()},
    "an event recording": with_array(npy(described("'<i8'", "(3,)"), bytes(24))),
    "two arrays of any name": archive(dict.fromkeys(("a.npy", "b.npy"), npy(described("'<f8'", "(1,)"), bytes(8)))),
    "no arrays": archive({}),
    "no numbers": archive({"x.npy": npy(described("'<f8'", "(1,)"), struct.pack("<d", float("nan")))}),
    "numbers without end": archive({"x.npy": npy(described("'<f2'", "(1,)"), b"\x00\x7c")}),
    "half a number": archive({"x.npy": npy(described("'<f8'", "(1,)"), bytes(4))}),
    "no moments": archive({"x.npy": npy(described("'<f8'", "(0, 3)"))}),
    "three axes": archive({"x.npy": npy(described("'<f8'", "(1, 1, 1)"), bytes(8))}),
}
SERIES_CSV_TEXTS = {
    "names alone": b"a,b\n",
    "blank lines alone": b"\n\n \n",
    "a text": b"1,2\n3,four\n",
    "no number": b"1,2\n3,nan\n",
    "a number without end": b"1,2\n3,1e999\n",
    "lines of several lengths": b"1,2\n3\n",
    "a missing value": b"1,2\n3,\n",
    "other separators": b"1;2\n3;4\n",
    "a quotation without end": b'1,"2\n',
    "a million commas": b"," * 1_000_000,
    "a number of 100,000 digits": b"1\n" + b"9" * 100_000,
    "hexadecimal": b"0x10,1\n0x11,2\n",
}


def with_labels(member: bytes) -> bytes:
    """An archive of a table of which x is `member`."""
    return archive({"x.npy": member, "y.npy": npy(described("'<i8'", "(1,)"), bytes(8))})


HDF5 = b"\x89HDF\r\n\x1a\n"
HDF5_TEXTS = {
    "the first eight bytes": HDF5,
    "nothing after them": HDF5 + bytes(4096),
    "all bits after them": HDF5 + b"\xff" * 4096,
    "version 3 and nothing else": HDF5 + b"\x03\x08\x08\x00" + bytes(4096),
}


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def bomb(gigabytes: int) -> bytes:
    """A gzip file of an IDX file of a few bytes that goes on with zeros; one block of them is packed and repeated."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(bytes((0, 0, 8, 3)) + struct.pack(">III", 2, 3, 4))]
    block = bytes(1 << 24)
    parts += [packer.compress(block) for _ in range(gigabytes * 8)]
    return b"".join([*parts, packer.flush()])


IDX_TEXTS = {
    "64 exabytes": bytes((0, 0, 8, 3)) + struct.pack(">III", 2**32 - 1, 2**32 - 1, 4) + bytes(24),
    "4 GiB": bytes((0, 0, 8, 3)) + struct.pack(">III", 2**10, 2**11, 2**11) + bytes(24),
    "another type": bytes((0, 0, 13, 3)) + struct.pack(">III", 2, 3, 4) + bytes(96),
    "another number of axes": bytes((0, 0, 8, 200)) + bytes(800),
    "a header cut short": bytes((0, 0, 8, 3, 0, 0)),
}
GZIP_TEXTS = {
    **{name: gzipped(content) for name, content in IDX_TEXTS.items()},
    "a bomb": bomb(1),
    "gzip of gzip": gzipped(gzipped(b"x")),
    "no end": gzipped(bytes((0, 0, 8, 3)) + struct.pack(">III", 2, 3, 4) + bytes(24))[:-8],
    "another checksum": gzipped(bytes((0, 0, 8, 3)) + struct.pack(">III", 2, 3, 4) + bytes(24))[:-8] + bytes(8),
}


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(written) if length is None else length) + written + data


def tensor(begin: int, end: int, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SAFETENSORS_TEXTS = {
    "a header of 16 EiB": tensors(b"", length=2**64 - 1),
    "a header of 8 TiB": tensors(b"{}", length=8 * TERA),
    "a header of 100 MB of spaces": tensors(b" " * 100_000_000 + b"{}"),
    "a header beyond the file": tensors({"a": tensor(0, 8)}, length=10_000),
    "a header that is a list": tensors([1]),
    "a header that is no JSON": tensors(b"{'a': 1}"),
    "a header that is no UTF-8": tensors(b'{"\xff": 1}'),
    "a header nested 5,000 times": tensors(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "8 TiB of weights": tensors({"a": tensor(0, 8 * TERA, (2 * TERA,))}, bytes(8)),
    "a shape whose product overflows": tensors({"a": tensor(0, 8, (2**32, 2**32, 2**32))}, bytes(8)),
    "a shape whose product wraps to 2": tensors({"a": tensor(0, 8, (2**63 + 1, 2))}, bytes(8)),
    "tensors that overlap": tensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)),
    "the same bytes twice": tensors({"a": tensor(0, 8), "b": tensor(0, 8)}, bytes(8)),
    "a gap between tensors": tensors({"a": tensor(0, 8), "b": tensor(16, 24)}, bytes(24)),
    "bytes after the last": tensors({"a": tensor(0, 8)}, bytes(64)),
    "bytes before the first": tensors({"a": tensor(8, 16)}, bytes(16)),
    "fewer bytes than declared": tensors({"a": tensor(0, 8)}, bytes(4)),
    "an end before its begin": tensors({"a": tensor(8, 0)}, bytes(8)),
    "negative offsets": tensors({"a": tensor(-8, 0)}, bytes(8)),
    "offsets that are text": tensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": "08"}}, bytes(8)),
    "offsets of 30 digits": tensors({"a": tensor(0, 10**30)}, bytes(8)),
    "a shape of fractions": tensors({"a": tensor(0, 8, (2.0,))}, bytes(8)),
    "a negative shape": tensors({"a": tensor(0, 8, (-2,))}, bytes(8)),
    "an unknown type": tensors({"a": tensor(0, 8, (2,), "F13")}, bytes(8)),
    "a type that is a list": tensors({"a": tensor(0, 8, (2,), [])}, bytes(8)),
    "a tensor that is a number": tensors({"a": 1}),
    "a tensor without a shape": tensors({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "a zip file of a pickle": archive({"archive/data.pkl": pickle.dumps(os.getcwd), "archive/version": b"3"}),
}


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *others: bytes, depth: int = 8, kind: int = 2) -> bytes:
    """A PNG that declares any size and has a few rows at most."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(others) + rows + chunk(b"IEND", b"")


PNG_TEXTS = {
    "60,000 x 60,000 pixels": png(60_000, 60_000),
    "2 billion x 2 billion pixels": png(2**31 - 1, 2**31 - 1),
    "no pixels": png(0, 0),
    "9,000 x 9,000 pixels": png(9_000, 9_000),
    "16 bits a channel": png(8, 8, depth=16, kind=0),
    "a text that unpacks to 1 GiB": png(8, 9, chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(1 << 26), 9))),
    "a profile that is none": png(8, 9, chunk(b"iCCP", b"a\x00\x00" + b"\x78\x9c" + bytes(40))),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(touch) run\n%%EOF\n",
    "a picture of another program": b"<svg xmlns='http://www.w3.org/2000/svg'/>!",
}
PNG_MAY = ("a text that unpacks to 1 GiB", "a profile that is none")
PPM_TEXTS = {"a size of 5,000 digits": b"P6 " + b"9" * 5000 + b" 8 255\n", "8 GiB": b"P6 60000 60000 255\n" + bytes(99)}
BMP_TEXTS = {"a negative size": b"BM" + struct.pack("<IHHI", 200, 0, 0, 54)
             + struct.pack("<IiiHHIIiiII", 40, -9, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(99)}  # fmt: skip


def wav(form: bytes, data: bytes = bytes(80), declared: int | None = None) -> bytes:
    """A WAV file with any format chunk."""
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data) if declared is None else declared) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pcm(channels: int = 1, rate: int = 8000, bits: int = 16, code: int = 1) -> bytes:
    return struct.pack("<HHIIHH", code, channels, rate, rate * 2, 2, bits)


WAV_TEXTS = {
    "4 GiB declared": wav(pcm(), declared=2**32 - 1),
    "65,535 channels": wav(pcm(channels=65_535)),
    "no channel": wav(pcm(channels=0)),
    "an unknown code": wav(pcm(code=0x7777)),
    "65,535 bits": wav(pcm(bits=65_535)),
    "half a format": wav(b"\x01\x00"),
    "no sound": wav(pcm(), b""),
    "MP3 in RIFF": wav(struct.pack("<HHIIHHH", 0x55, 1, 8000, 1000, 1, 0, 12) + bytes(12)),
    "infinite floats": wav(struct.pack("<HHIIHH", 3, 1, 8000, 32_000, 4, 32), struct.pack("<f", float("inf")) * 20),
    "no numbers": wav(struct.pack("<HHIIHH", 3, 1, 8000, 32_000, 4, 32), struct.pack("<f", float("nan")) * 20),
}


def aedat_3(*header: int, data: bytes = b"") -> bytes:
    return b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + struct.pack("<hhiiiiii", *header) + data


AEDAT_TEXTS = {
    "version 4": b"#!AER-DAT4.0\r\n" + bytes(80),
    "a version of 60,000 characters": b"#!AER-DAT" + b"9" * 60_000 + b"\r\n" + bytes(80),
    "a header without end": b"#!AER-DAT3.1\r\n# and on",
    "a packet of 2 billion events": aedat_3(1, 0, 8, 4, 0, 2**31 - 1, 2**31 - 1, 2**31 - 1),
    "a packet of -1 events": aedat_3(1, 0, 8, 4, 0, -1, -1, -1),
    "more events than room": aedat_3(1, 0, 8, 4, 0, 1, 5, 5, data=bytes(8)),
    "events of no bytes": aedat_3(1, 0, 0, 4, 0, 9, 9, 9, data=bytes(72)),
    "half a packet header": b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + bytes(9),
    "half an event": b"#!AER-DAT2.0\r\n" + bytes(12),
    "a DAVIS": b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n" + bytes(80),
}


def pickled(*opcodes: bytes) -> bytes:
    return b"\x80\x02" + b"".join(opcodes) + b"."


PICKLE_TEXTS = {
    "os.system": pickled(b"cos\nsystem\n(X\x05\x00\x00\x00touchtR"),
    "builtins.eval": pickled(b"cbuiltins\neval\n(X\x01\x00\x00\x001tR"),
    "builtins.getattr": pickled(b"cbuiltins\ngetattr\n(X\x01\x00\x00\x00aX\x01\x00\x00\x00btR"),
    "an attribute of a harmless module": pickled(b"cnumpy\nload\n(X\x01\x00\x00\x00atR"),
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x09f2py.exec\x93.",
    "a module of the package index": pickled(b"cpip\nmain\n(tR"),
    "a copyreg extension": pickled(b"\x82\x01"),
    "a persistent id": pickled(b"Phello\n"),
    "an array of 8 TiB": pickled(
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(\x8a\x06\x00\x00\x00\x00\x00\x08tU\x01btR"),
    "bytes of 8 TiB": b"\x80\x04\x8e" + struct.pack("<Q", 8 * TERA) + b"x.",
    "a frame of 8 TiB": b"\x80\x04\x95" + struct.pack("<Q", 8 * TERA) + b"x.",
    "a memo of 4 billion": pickled(b"Nr\xff\xff\xff\xff"),
    "marks alone": b"\x80\x02" + b"(" * 50_000,
    "lists nested 50,000 times": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "an integer of 5,000 digits": b"I" + b"9" * 5000 + b"\n.",
    "a dictionary without data": pickle.dumps({b"labels": [1]}, 2),
    "data that are no array": pickle.dumps({b"data": [1], b"labels": [1]}, 2),
    "labels that are text": pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": ["x"]}, 2),
    "a list for a dictionary": pickle.dumps([1], 2),
    "the wrong number of labels": pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, 2),
}  # fmt: skip
"""Ideas of picklescan's collection, and of the format's own description, written anew."""


def of(texts: dict[str, bytes], only: tuple[str, ...], may: tuple[str, ...] = ()) -> Iterator[Damage]:
    for name, content in texts.items():
        yield Damage(name, text(content), only, name not in may)


def damages(readers: list[tuple[str, str]]) -> Iterator[Damage]:
    """All damages, given the name and the kind of every reader."""

    def kind(wanted: str) -> tuple[str, ...]:
        return tuple(name for name, its in readers if its == wanted)

    bound = tuple(name for name, _ in readers if name not in FREE_FORM)
    not_json = tuple(name for name, its in readers if its != "json" and name not in FREE_FORM)
    for damage in KINDS:
        may = {"nothing": OPTIONAL, "nothing of it": FREE_FORM}.get(damage.name, ())
        yield replace(damage, only=tuple(name for name, _ in readers if name not in may))
        yield replace(damage, only=may or ("none",), refused=False)
    yield from of({name: each for name, each in TEXTS.items() if name != "an empty object"}, bound)
    yield Damage("an empty object", text(TEXTS["an empty object"]), not_json)
    yield Damage("an empty object of JSON", text(b"{}"), kind("json"), refused=False)
    yield Damage("52 bytes", text(bytes(52)), FREE_FORM)
    yield from of(JSON_TEXTS, kind("json"))
    yield from of(YAML_TEXTS, kind("yaml"))
    yield from of(CSV_TEXTS, kind("csv"), ("one name twice",))
    yield from of(NPY_TEXTS, kind("npy"))
    yield from of(NPZ_TEXTS, kind("npz"))
    yield from of(SERIES_NPZ_TEXTS, kind("npz of series"))
    yield from of(SERIES_CSV_TEXTS, kind("csv of series"))
    yield from of(SERIES_CSV_TEXTS, kind("csv of tables"), ("hexadecimal",))
    yield from of({f"{name} as x": with_labels(content) for name, content in NPY_TEXTS.items()}, kind("npz of tables"))
    yield from of(HDF5_TEXTS, kind("hdf5"))
    yield from of(IDX_TEXTS, ("IDX",))
    yield from of(GZIP_TEXTS, ("IDX in gzip",))
    yield from of(SAFETENSORS_TEXTS, ("weights",))
    yield from of(PNG_TEXTS, ("PNG",), PNG_MAY)
    yield from of(PPM_TEXTS, ("PPM",))
    yield from of(BMP_TEXTS, ("BMP",))
    yield from of(WAV_TEXTS, ("WAV of PCM",))
    yield from of(AEDAT_TEXTS, ("AEDAT 3.1",))
    yield from of(PICKLE_TEXTS, ("CIFAR's pickle",))
    yield from changed()


def changed() -> Iterator[Damage]:
    """A good file cut short, continued, or with other bytes in it: what is left may be a file too."""
    for part in (1, 10, 30, 50, 70, 90, 99):
        yield Damage(
            f"{part} % of it", lambda path, good, n=part: path.write_bytes(good[: len(good) * n // 100]), refused=False
        )
    yield Damage("one byte less", lambda path, good: path.write_bytes(good[:-1]), refused=False)
    yield Damage("one byte more", lambda path, good: path.write_bytes(good + b"\x00"), refused=False)
    yield Damage("twice", lambda path, good: path.write_bytes(good + good), refused=False)
    for seed in range(6):
        yield Damage(
            f"other bytes in it, {seed}", lambda path, good, n=seed: path.write_bytes(flipped(good, n)), refused=False
        )


def flipped(good: bytes, seed: int) -> bytes:
    """`good` with a few bytes changed; the first ones more often, as there are the headers."""
    random, content = np.random.default_rng(seed), bytearray(good)
    for _ in range(1 + seed):
        at = int(len(content) * random.random() ** 3)
        content[min(at, len(content) - 1)] = int(random.integers(256))
    return bytes(content)
