"""Files by byte ranges: what is read, what is refused, what is asked for again."""

import http.server
import io
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.io import remote
from support.processes import web


class Odd(web.Ranges):
    """A server that fails as its `fail` says; failures are used up one by one."""

    fail: list[str] = []  # noqa: RUF012
    tag = '"1"'

    def do_GET(self):  # noqa: N802
        trouble = self.fail.pop(0) if self.fail else ""
        if trouble == "busy":
            return self.answer(503, b"")
        if trouble == "gone":
            return self.answer(404, b"")
        if trouble == "whole":
            self.headers.replace_header("Range", "none")
        if trouble == "cut":
            self.send_response(206)
            asked = self.headers["Range"].removeprefix("bytes=")
            self.send_header("Content-Range", f"bytes {asked}/10000")
            self.send_header("Content-Length", "1000")
            self.send_header("ETag", "")
            self.end_headers()
            self.wfile.write(b"short")
            self.close_connection = True
            return None
        if trouble == "changed":
            type(self).tag = '"2"'
        return super().do_GET()

    def send_header(self, keyword, value):
        super().send_header(keyword, self.tag if keyword == "ETag" else value)


@contextmanager
def served(folder, *fail):
    class Handler(Odd):
        pass

    Handler.fail = list(fail)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("remote")
    content = np.random.default_rng(0).bytes(10_000)
    (place / "file").write_bytes(content)
    return place


def test_reads_as_a_file_does(folder):
    content = (folder / "file").read_bytes()
    rng = np.random.default_rng(1)
    with served(folder) as url, remote.Remote(url, block=1000) as file:
        assert file.size == 10_000 and file.readable() and file.seekable()
        for _ in range(50):
            start, size = rng.integers(0, 10_500, 2)
            file.seek(int(start))
            assert file.read(int(size)) == content[start : start + size]
        assert file.seek(-5, io.SEEK_END) == 9_995 and file.read() == content[-5:]
        assert file.seek(10) == 10 and file.seek(5, io.SEEK_CUR) == 15 == file.tell()
        # Every block was asked for once.
        assert file.requests == 10


def test_troubles_that_pass_are_waited_for(folder):
    content = (folder / "file").read_bytes()
    with (
        served(folder, "busy", "cut", "", "busy", "cut") as url,
        remote.Remote(url, block=1000, pause=0.001) as file,
    ):
        assert file.read(10_000) == content and file.requests == 14


@pytest.mark.parametrize(
    "fail, words",
    [
        (["gone"], "the server answered 404"),
        (["whole"], "does not answer byte ranges"),
        (["busy"] * 5, "in 5 attempts: it answered 503"),
        (["", "changed"], "changed on the server"),
        (["", "gone"], "the server answered 404"),
    ],
)
def test_troubles_that_stay(folder, fail, words):
    with (
        served(folder, *fail) as url,
        pytest.raises(UserError, match=words) as caught,
        remote.opened(f"{url}?key=secret", block=1000, pause=0.001) as file,
    ):
        file.read(5000)
    assert "secret" not in str(caught.value)


def test_what_a_library_swallows_is_raised_in_its_own_words(folder):
    with (
        served(folder, "", "gone") as url,
        pytest.raises(UserError, match="the server answered 404"),
        remote.opened(url, block=1000) as file,
    ):
        try:
            file.read(5000)
        except UserError:
            raise OSError("a library's own words") from None


def test_nobody_there():
    with pytest.raises(remote.Unreachable, match="in 2 attempts"):
        remote.Remote("http://127.0.0.1:9/x", attempts=2, pause=0.001)
    with pytest.raises(UserError, match="is not an address"):
        remote.Remote("file:///etc/hosts")
