"""Pickles in .pth and .npy files: nothing runs, nothing explodes, all is told."""

import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from support.processes import attacked
from support.processes.attacked import Case


def short(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


def number(value):
    return (
        b"\x8a"
        + bytes([(value.bit_length() // 8) + 1])
        + value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    )


def storage(key="0", kind="FloatStorage", size=4):
    parts = short("storage") + f"ctorch\n{kind}\n".encode() + short(key)
    return b"(" + parts + short("cpu") + number(size) + b"tQ"


def tensor(*, key="0", kind="FloatStorage", size=4, shape=b"K\x04\x85", stride=None):
    begin = b"ctorch._utils\n_rebuild_tensor_v2\n("
    strides = b"K\x01\x85" if stride is None else stride
    rest = b"K\x00" + shape + strides + b"\x89ccollections\nOrderedDict\n)R"
    return begin + storage(key, kind, size) + rest + b"tR"


def state(*items):
    return b"\x80\x02}(" + b"".join(short(n) + t for n, t in items) + b"u."


WHOLE = state(("a", tensor()))
DATA = {"a/data.pkl": WHOLE, "a/data/0": bytes(16)}
DOUBLED = b"K\x01" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60))


def pth(path, members, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def pickled(content):
    return {**DATA, "a/data.pkl": content}


class Runs:
    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


def many_on_one(path):
    """A hundred storages that share their bytes."""
    count, size = 100, 8 << 20
    items = [
        (
            f"t{i}",
            tensor(
                key=str(i),
                size=size // 4,
                shape=b"J" + struct.pack("<i", size // 4) + b"\x85",
            ),
        )
        for i in range(count)
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", state(*items))
        archive.writestr("a/data/0", bytes(size))
        first = archive.getinfo("a/data/0")
        for i in range(1, count):
            member = zipfile.ZipInfo(f"a/data/{i}")
            for field in ("CRC", "compress_size", "file_size", "header_offset"):
                setattr(member, field, getattr(first, field))
            archive.filelist.append(member)
            archive.NameToInfo[member.filename] = member


def long_directory(path):
    pth(path, DATA)
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\5\6")
    content[at + 12 : at + 16] = struct.pack("<I", 200 << 20)
    path.write_bytes(content + b"")


def encrypted(path):
    pth(path, DATA)
    content = path.read_bytes().replace(
        b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"
    )
    path.write_bytes(content)


big = b"\x8b" + struct.pack("<i", 5000) + b"\x7f" * 5000
PTH = {
    "runs a command": (
        pickled(pickle.dumps(Runs(os.system, "touch x"), 2)),
        "asks to call",
    ),
    "runs code": (pickled(pickle.dumps(Runs(eval, "1"), 2)), "asks to call"),
    "escapes in a name": (pickled(b"\x80\x02c\x1b[2Jx\ny\n)R."), "asks to call"),
    "a doubled function": (
        pickled(b"\x80\x04" + DOUBLED + short("x") + b"\x93)R."),
        "refused",
    ),
    "a doubled key": (pickled(b"\x80\x02}" + DOUBLED + b"K\x01s."), "refused"),
    "a doubled value": (
        pickled(b"\x80\x02}" + short("a") + DOUBLED + b"s."),
        "refused",
    ),
    "a number of 5000 bytes": (
        pickled(b"\x80\x02}" + short("a") + big + b"s."),
        "63 bits",
    ),
    "a shape of 5000 bytes": (
        pickled(state(("a", tensor(shape=big + b"\x85")))),
        "63 bits",
    ),
    "a million lists": (pickled(b"\x80\x02" + b"]" * 1_500_000 + b"."), "refused"),
    "a million marks": (pickled(b"\x80\x02" + b"(" * 1_500_000 + b"."), "refused"),
    "a list in itself": (pickled(b"\x80\x02]\x94h\x00a."), "refused"),
    "no end": (pickled(b"\x80\x02}"), "refused"),
    "nothing": (pickled(b""), "refused"),
    "a negative size": (pickled(state(("a", tensor(size=-4)))), "refused"),
    "a negative stride": (
        pickled(state(("a", tensor(stride=number(-1) + b"\x85")))),
        "negative",
    ),
    "beyond its storage": (
        pickled(state(("a", tensor(shape=b"K\x05\x85")))),
        "reads entry",
    ),
    "repeats without bound": (
        pickled(
            state(("a", tensor(shape=number(1 << 40) + b"\x85", stride=b"K\x00\x85")))
        ),
        "larger than the file",
    ),
    "empty but huge": (
        pickled(
            state(
                (
                    "a",
                    tensor(
                        shape=b"K\x00" + number(1 << 50) + b"\x86",
                        stride=b"K\x00K\x00\x86",
                    ),
                )
            )
        ),
        "refused",
    ),
    "an unknown type": (
        pickled(state(("a", tensor(kind="QuantStorage")))),
        "storage type",
    ),
    "one storage of two types": (
        pickled(state(("a", tensor()), ("b", tensor(kind="IntStorage")))),
        "two types",
    ),
    "a key that leads away": (
        pickled(state(("a", tensor(key="../x")))),
        "alphanumeric",
    ),
    "a name with escapes": (pickled(state(("a\x1b[2J", tensor()))), "name"),
    "a missing member": ({"a/data.pkl": WHOLE}, "is missing"),
    "two descriptions": ({**DATA, "b/data.pkl": WHOLE}, "found 2"),
    "big-endian": ({**DATA, "a/byteorder": b"big"}, "byte order"),
    "no tensors": (pickled(b"\x80\x02}."), "refused"),
    "a list": (pickled(b"\x80\x02]."), "expected a dictionary"),
}


def asked_again(name, given, times=200):
    """What a function makes of a thing that is written once, so many times."""
    module, function = name.split(" ")
    call = f"c{module}\n{function}\n".encode() + b"h\x00\x85R"
    return b"\x80\x03" + given + b"q\x00" + call * times + b"."


LONG = b"X" + struct.pack("<I", 2 << 20) + b"a" * (2 << 20)
SIZES = b"B" + struct.pack("<I", 2 << 20) + bytes(2 << 20)
KEYS = b"](" + b"".join(b"J%bN\x86" % struct.pack("<i", i) for i in range(90_000))
VIEWS = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + b"K\0h\0h\0\x89NtR"
PTH |= {
    "sizes of letters": (pickled(asked_again("torch Size", LONG)), "axes"),
    "sizes in bytes": (
        pickled(b"\x80\x03" + SIZES + b"q\x00" + VIEWS * 200 + b"."),
        "axes",
    ),
    "a dictionary again and again": (
        pickled(asked_again("collections OrderedDict", KEYS + b"e")),
        "copies more",
    ),
}


def npy(path, content):
    header = str({"descr": "|O", "fortran_order": False, "shape": (1,)}).encode()
    header += b" " * (118 - len(header) - 1) + b"\n"
    path.write_bytes(
        b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content
    )


def numpy_array(items):
    """The pickle of an array of objects with these items, as numpy writes it."""
    begin = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"
    begin += b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    dtype = (
        b"cnumpy\ndtype\n"
        + short("O8")
        + b"\x89\x88\x87R(K\x03"
        + short("|")
        + b"NNN"
        + b"J\xff\xff\xff\xff" * 2
        + b"K?tb"
    )
    return begin + b"(K\x01K\x01\x85" + dtype + b"\x89" + items + b"tb."


def one_array(times=60):
    """A list of an array of 16 MB that is written once."""
    kind = b"cnumpy\ndtype\n" + short("f8") + b"\x89\x88\x87R(K\x03" + short("<")
    kind += b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\0tb"
    begin = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R"
    size = 16 << 20
    content = b"B" + struct.pack("<I", size) + bytes(size)
    array = begin + b"(K\x01J" + struct.pack("<i", size // 8) + b"\x85" + kind
    array += b"\x89" + content + b"tbq\x05"
    return numpy_array(b"](](" + array + b"h\x05" * times + b"ee")


OBJECTS = {
    "an array again and again": (one_array(), "lists in lists"),
    "bytes again and again": (
        asked_again("_codecs encode", LONG.replace(b"a", b"b")),
        "copies more",
    ),
    "runs a command": (pickle.dumps(Runs(os.system, "touch x")), "asks to call"),
    "doubled lists": (
        numpy_array(b"](" + DOUBLED.replace(b"\x86", b"\x86") + b"e"),
        "lists in lists",
    ),
    "a list in itself": (numpy_array(b"](]\x94h\x00ae"), "lists in lists"),
    "a long number": (numpy_array(b"](" + big + b"e"), "63 bits"),
    "no array": (b"\x80\x02].", "no array"),
    "cut short": (numpy_array(b"](K\x01e")[:-9], "was not read"),
}


@pytest.mark.soak
def test_objects_without_end(tmp_path):
    np.save(tmp_path / "good.npy", np.array([[1], 0], object)[:1], allow_pickle=True)
    npy(tmp_path / "lists.npy", b"\x80\x02" + b"]" * 10_000_000 + b".")
    cases = [Case("lists", ("objects", str(tmp_path / "lists.npy")), "was not read")]
    healthy = [Case("good", ("objects", str(tmp_path / "good.npy")))]
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    assert not problems, "\n".join(problems)


def test_weights_and_objects(tmp_path):
    cases, healthy = [], []
    for i, (name, (members, said)) in enumerate(PTH.items()):
        pth(tmp_path / f"{i}.pth", members)
        cases.append(Case(f"pth: {name}", ("pth", str(tmp_path / f"{i}.pth")), said))
    files = {
        "shared bytes": (many_on_one, "overlap"),
        "a long directory": (long_directory, "list of its members"),
        "encrypted": (encrypted, "encrypted"),
        "compressed": (
            lambda p: pth(p, DATA, compression=zipfile.ZIP_DEFLATED),
            "compressed",
        ),
        "lzma": (lambda p: pth(p, DATA, compression=zipfile.ZIP_LZMA), "compressed"),
        "empty": (lambda p: p.write_bytes(b""), "not a PyTorch checkpoint"),
        "a page": (lambda p: p.write_bytes(b"<html>"), "a web page"),
        "a bare pickle": (lambda p: p.write_bytes(WHOLE), "a bare pickle"),
        "cut short": (
            lambda p: (pth(p, DATA), p.write_bytes(p.read_bytes()[:-30])),
            "truncated",
        ),
        "a pipe": (os.mkfifo, "No file"),
        "a device": (lambda p: p.symlink_to("/dev/zero"), "No file"),
        "a folder": (lambda p: p.mkdir(), "No file"),
    }
    for name, (make, said) in files.items():
        path = tmp_path / f"{name}.pth"
        make(path)
        cases.append(Case(f"pth: {name}", ("pth", str(path)), said))
    for i, (name, (content, said)) in enumerate(OBJECTS.items()):
        npy(tmp_path / f"{i}.npy", content)
        cases.append(
            Case(f"npy: {name}", ("objects", str(tmp_path / f"{i}.npy")), said)
        )
    os.mkfifo(tmp_path / "pipe.npy")
    cases.append(Case("npy: a pipe", ("objects", str(tmp_path / "pipe.npy")), "a pipe"))
    pth(tmp_path / "good.pth", DATA)
    healthy.append(Case("good", ("pth", str(tmp_path / "good.pth"))))
    np.save(
        tmp_path / "good.npy",
        np.array([{"med": [1, 2]}, 0], object)[:1],
        allow_pickle=True,
    )
    healthy.append(Case("good objects", ("objects", str(tmp_path / "good.npy"))))
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    assert not problems, "\n".join(problems)
