"""Hosts that nobody knows are told at once, not after every retry."""

import socket

import pytest

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.io import get, remote, served


@pytest.fixture
def asked(monkeypatch):
    """How often a name was looked up; none is known."""
    names, reason = [], [socket.EAI_NONAME]

    def unknown(host, port):
        names.append((host, reason[0]))
        raise socket.gaierror(reason[0], "in words")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(served, "PAUSES", (0.0, 0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return names, reason


CALLS = {
    "a download": lambda url, path: get.fetch_file(url, path / "a.zip"),
    "its size": lambda url, path: served.ask(url),
    "a file read in parts": lambda url, path: remote.Remote(url),
    "a store": lambda url, path: Recordings.open(url),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_host_is_told_at_once(asked, tmp_path, call):
    with pytest.raises(UserError, match="No server is called 'no.such.host'"):
        CALLS[call]("https://no.such.host/a/b", tmp_path)
    assert len(asked[0]) == 1 and not any(tmp_path.iterdir())


def test_a_name_server_that_is_busy_is_asked_three_times(asked):
    asked[1][0] = socket.EAI_AGAIN
    with pytest.raises(UserError, match="the network is up"):
        served.check_host("https://no.such.host")
    assert len(asked[0]) == 3


def test_behind_a_proxy_the_name_need_not_be_known(asked, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    served.check_host("https://no.such.host/a")
    assert not asked[0]


@pytest.mark.parametrize("url", ["https://", "https:///a", "http://a..b/c"])
def test_addresses_without_a_server(url, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="names no server|No server is called"):
        served.check_host(url)
