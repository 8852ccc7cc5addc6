"""How commands compile: the short way where there is one; programs are kept."""

import os
import stat

import pytest

from sensorium_jax.cli import compiling

JAX, LEAST = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


@pytest.fixture
def env(tmp_path, monkeypatch):
    """The environment of a user who has set nothing but a home."""
    for name in (JAX, LEAST, "XLA_FLAGS", "XDG_CACHE_HOME", "SENSORIUM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(compiling.SWITCH, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def test_programs_are_kept_where_only_their_user_writes(env, tmp_path):
    compiling.settle()
    folder = tmp_path / ".cache/sensorium_jax/programs"
    assert os.environ[JAX].startswith(str(folder)) and float(os.environ[LEAST]) < 1
    mode = stat.S_IMODE(os.stat(os.environ[JAX]).st_mode)
    assert mode == 0o700


@pytest.mark.parametrize("name", [JAX, compiling.SWITCH])
def test_what_the_user_has_set_stays(env, tmp_path, name):
    env.setenv(name, "off")
    compiling.settle()
    assert os.environ.get(JAX) == ("off" if name == JAX else None)
    assert not (tmp_path / ".cache").exists()


def test_a_folder_that_others_may_write_to_is_not_used(env, tmp_path, capsys):
    place = tmp_path / "programs"
    place.mkdir()
    place.chmod(0o777)
    env.setenv(compiling.SWITCH, str(place))
    compiling.settle()
    assert JAX not in os.environ
    assert "others may write to it" in capsys.readouterr().err


def test_a_home_that_cannot_be_written_to_is_no_fault(env, tmp_path):
    (tmp_path / ".cache").write_text("a file")
    compiling.settle()
    assert JAX not in os.environ


def test_the_programs_that_were_kept_first_go_first(env, tmp_path):
    env.setattr(compiling, "MOST", 100)
    env.setenv(compiling.SWITCH, str(tmp_path / "programs"))
    for i in range(4):
        path = tmp_path / f"programs/machine/{i}"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(bytes(20))
        os.utime(path, (i, i))
    compiling.settle()
    assert len(list(path.parent.iterdir())) == 4
    env.delenv(JAX)
    (path.parent / "4").write_bytes(bytes(40))
    compiling.settle()
    assert sorted(p.name for p in path.parent.iterdir()) == ["4"]


def test_only_old_compilers_are_told_of_the_short_way(env):
    for version, told in (("0.10.2", True), ("0.11.0", False), ("0.100.0", False)):
        env.setenv("XLA_FLAGS", "--xla_one=1")
        env.setattr(compiling, "version", lambda _, v=version: v)
        compiling.short_way()
        compiling.short_way()
        said = os.environ["XLA_FLAGS"].split()
        assert said == ["--xla_one=1", *[compiling.FLAG] * told]
    env.setenv("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=true")
    env.setattr(compiling, "version", lambda _: "0.10.2")
    compiling.short_way()
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_use_fusion_emitters=true"
