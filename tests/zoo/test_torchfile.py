"""Checkpoints are read without torch, and nothing a file says is ever carried out."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.zoo.torch import torchfile

PLAIN = b"ctorch._utils\n_rebuild_tensor_v2\n"


def storage(key=b"0", size=6, kind=b"FloatStorage", module=b"torch"):
    return b"(X\x07\x00\x00\x00storagec%s\n%s\nX%s%sX\x03\x00\x00\x00cpuJ%stQ" % (
        module,
        kind,
        len(key).to_bytes(4, "little"),
        key,
        size.to_bytes(4, "little"),
    )


def ints(*values):
    return (
        b"("
        + b"".join(b"J" + v.to_bytes(4, "little", signed=True) for v in values)
        + b"t"
    )


def tensor(where=None, offset=0, shape=(2, 3), strides=(3, 1), function=PLAIN):
    where = storage() if where is None else where
    place = b"J" + offset.to_bytes(4, "little", signed=True)
    return (
        function
        + b"("
        + where
        + place
        + ints(*shape)
        + ints(*strides)
        + b"\x89N"
        + b"tR"
    )


def state(**tensors):
    pairs = b"".join(
        b"X%s%s" % (len(k).to_bytes(4, "little"), k.encode()) + v
        for k, v in tensors.items()
    )
    return b"\x80\x02}(" + pairs + b"u."


NUMBERS = np.arange(6, dtype="<f4")


def checkpoint(tmp_path, pickled, members=None, *, compress=zipfile.ZIP_STORED):
    path = tmp_path / "made.pth"
    with zipfile.ZipFile(path, "w", compress) as z:
        z.writestr("made/data.pkl", pickled)
        for name, data in (members or {"data/0": NUMBERS.tobytes()}).items():
            z.writestr(f"made/{name}", data)
    return path


def test_reads_views_of_one_storage(tmp_path):
    got = torchfile.load(
        checkpoint(
            tmp_path,
            state(
                a=tensor(),
                t=tensor(shape=(3, 2), strides=(1, 3)),
                e=tensor(shape=(4, 2), strides=(0, 1), offset=4),
                s=tensor(shape=(), strides=(), offset=5),
                z=tensor(shape=(0, 3), strides=(3, 1), offset=6),
            ),
        )
    )
    assert list(got) == list("atesz")
    np.testing.assert_array_equal(got["a"], NUMBERS.reshape(2, 3))
    np.testing.assert_array_equal(got["t"], NUMBERS.reshape(2, 3).T)
    np.testing.assert_array_equal(got["e"], np.tile([4.0, 5.0], (4, 1)))
    assert got["s"] == 5 and got["s"].shape == () and got["z"].shape == (0, 3)
    got["a"][:] = 0  # arrays own their memory: no view shares another's
    assert got["t"].any()


def test_widens_bfloat16_and_bool(tmp_path):
    bf16 = (np.float32([1.5, -2.0]).view("<u4") >> 16).astype("<u2").tobytes()
    path = checkpoint(
        tmp_path,
        state(
            b=tensor(storage(b"0", 2, b"BFloat16Storage"), 0, (2,), (1,)),
            t=tensor(storage(b"1", 3, b"BoolStorage"), 0, (3,), (1,)),
        ),
        {"data/0": bf16, "data/1": b"\x00\x01\x02"},
    )
    got = torchfile.load(path)
    assert got["b"].dtype == np.float32 and got["b"].tolist() == [1.5, -2.0]
    assert got["t"].dtype == bool and got["t"].tolist() == [False, True, True]


def test_unwraps_a_trainers_dictionary(tmp_path):
    inner = state(a=tensor())[2:-1]
    whole = (
        b"\x80\x02}(X\x05\x00\x00\x00epochK\x03X\x0a\x00\x00\x00state_dict"
        + inner
        + b"u."
    )
    assert list(torchfile.load(checkpoint(tmp_path, whole))) == ["a"]
    argus = whole.replace(b"\x0a\x00\x00\x00state", b"\x0d\x00\x00\x00nn_state")
    assert list(torchfile.load(checkpoint(tmp_path, argus))) == ["a"]


class Bomb:
    def __reduce__(self):
        import os

        return os.system, ("touch pwned",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_never_calls_what_a_pickle_names(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = checkpoint(tmp_path, pickle.dumps({"a": Bomb()}, protocol=protocol))
    with pytest.raises(UserError, match=r"system|opcode"):
        torchfile.load(path)
    assert not (tmp_path / "pwned").exists()


REFUSED = {
    "eval": (state(a=b"cbuiltins\neval\n(X\x01\x00\x00\x001tR"), "call builtins.eval"),
    "new object": (b"\x80\x02cbuiltins\nobject\n)\x81.", "opcode NEWOBJ"),
    "old instance": (b"(ibuiltins\nobject\n.", "opcode INST"),
    "extension": (b"\x80\x02\x82\x01.", "opcode EXT1"),
    "outside": (state(a=tensor(offset=1)), "reads entry 6 of a storage of 6"),
    "stride": (state(a=tensor(strides=(4, 1))), "reads entry 6"),
    "negative offset": (state(a=tensor(offset=-1)), "negative"),
    "negative size": (state(a=tensor(shape=(-2, 3))), "negative"),
    "negative stride": (state(a=tensor(strides=(-3, 1))), "negative"),
    "terabytes": (
        state(a=tensor(shape=(1 << 30, 1 << 12), strides=(0, 0))),
        "larger than the file can hold",
    ),
    "rank": (state(a=tensor(shape=(1,) * 40, strides=(0,) * 40)), "16 axes"),
    "strides": (state(a=tensor(shape=(2, 2), strides=(1,))), "2 sizes and 1 strides"),
    "storage size": (state(a=tensor(storage(size=7))), "holds 24 bytes"),
    "storage missing": (state(a=tensor(storage(b"9"))), "'data/9' is missing"),
    "storage path": (state(a=tensor(storage(b"../data.pkl"))), "not alphanumeric"),
    "storage kind": (state(a=tensor(storage(kind=b"QInt8Storage"))), "QInt8Storage"),
    "storage module": (state(a=tensor(storage(module=b"os"))), "in a form"),
    "attribute": (state(a=tensor() + b"}X\x01\x00\x00\x00xK\x01sb"), "sets attributes"),
    "no tensors": (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "values of type"),
    "not a dict": (b"\x80\x02K\x01.", "found a int"),
    "tuple key": (b"\x80\x02}))K\x01s.", "type"),
    "unfinished": (b"\x80\x02}", "malformed"),
    "unknown opcode": (b"\x80\x02\xff.", "malformed"),
    "memo": (b"\x80\x02h\x07.", "malformed"),
    "huge memo": (b"\x80\x02}r\xff\xff\xff\xff.", "values of type"),
    "huge string": (b"\x80\x02X\xff\xff\xff\x7fabc.", "malformed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_with_words(tmp_path, case):
    pickled, words = REFUSED[case]
    with pytest.raises(UserError, match=words) as caught:
        torchfile.load(checkpoint(tmp_path, pickled))
    assert "made.pth" in str(caught.value) and "Re-save" in str(caught.value)


def test_refuses_compressed_members(tmp_path):
    path = checkpoint(tmp_path, state(a=tensor()), compress=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="compressed"):
        torchfile.load(path)


def test_damaged_files_are_named(tmp_path):
    whole = checkpoint(tmp_path, state(a=tensor())).read_bytes()
    broken = tmp_path / "broken.pth"
    for end in (10, 60, len(whole) // 2, len(whole) - 3):
        broken.write_bytes(whole[:end])
        with pytest.raises(UserError, match="truncated or damaged"):
            torchfile.load(broken)
    flipped = bytearray(whole)
    flipped[whole.index(NUMBERS.tobytes()) + 5] ^= 1
    broken.write_bytes(flipped)
    with pytest.raises(UserError, match="damaged"):
        torchfile.load(broken)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"a": 1}, 2), "before 1.6"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"hello", "not a PyTorch checkpoint"),
        (b"", "not a PyTorch checkpoint"),
    ],
)
def test_other_files_are_named(tmp_path, content, words):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        torchfile.load(path)
    with pytest.raises(UserError, match="No file"):
        torchfile.load(tmp_path / "absent.pth")


@pytest.mark.parity
def test_equal_to_torch(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    state = module.state_dict()
    state |= {
        "turned": base.T,
        "strided": base[::2, 1::2],
        "expanded": base[:1].expand(5, 6),
        "parameter": torch.nn.Parameter(base[1]),
        "half": base.half(),
        "bf16": base.bfloat16(),
        "long": base.long(),
        "bool": base > 3,
        "double": base.double(),
    }
    path = tmp_path / "torch.pth"
    torch.save(state, path)
    got = torchfile.load(path)
    assert list(got) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(got[name], value.detach().float().numpy(), name)
    old = tmp_path / "old.pth"
    torch.save(state, old, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="before 1.6"):
        torchfile.load(old)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    old.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="refused"):
        torchfile.load(old)
