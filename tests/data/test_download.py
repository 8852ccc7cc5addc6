import base64
import contextlib
import errno
import hashlib
import http.server
import io
import json
import socket
import threading
import zipfile

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data.release.download import LICENSE, RECORDINGS, download, plan
from sensorium_jax.errors import UserError
from sensorium_jax.io.get import OVERLAP, fetch_file
from sensorium_jax.io.served import ask

QUICK = {"pause": 0.001, "stall": 0.3, "attempts": 3}
BODY = np.random.default_rng(0).bytes(5 * OVERLAP)
SCAN = "29515-10-12"
NAME = RECORDINGS["2023-new"][0]


class Server(http.server.ThreadingHTTPServer):
    """Serves `body` and misbehaves as `act` says; remembers the requests."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, body=BODY, act=None, *, ranges=True, etag='"v1"', more=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.act, self.ranges, self.etag = body, act, ranges, etag
        self.more, self.asked, self.sent = dict(more), [], 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # dropped connections are the point


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.reply(head=True)

    def do_GET(self):
        self.server.asked.append((self.headers["Range"], self.headers["If-Range"]))
        if self.server.act is None or not self.server.act(self, len(self.server.asked)):
            self.reply()

    def reply(self, head=False, stop=None, claim=None):
        """The body or its range; stop ends it early, claim lies about the length."""
        server, body, start = self.server, self.server.body, 0
        asked = self.headers["Range"]
        same = self.headers["If-Range"] in (None, server.etag)
        if asked and server.ranges and same:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(body):
                return self.plain(416)
            self.send_response(206)
            last = len(body) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(body)}")
        else:
            self.send_response(200)
        for key, value in {"ETag": server.etag, **server.more}.items():
            if value:
                self.send_header(key, value)
        self.send_header("Content-Length", str(claim or len(body) - start))
        self.end_headers()
        part = b"" if head else body[start:stop]
        self.wfile.write(part)
        server.sent += len(part)
        if stop is not None:
            self.hang_up()

    def plain(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        return True


@pytest.fixture
def serve():
    servers = []

    def start(*args, **kwargs):
        server = Server(*args, **kwargs)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(server, folder, **options):
    return fetch_file(f"{server.url}/a.zip", folder / "a.zip", **QUICK | options)


def left(folder):
    return sorted(p.name for p in folder.iterdir())


def drops(handler, turn):
    """Ends a connection after two fifths of the body, one of them known already."""
    start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
    if start + 2 * OVERLAP < len(BODY):
        handler.reply(stop=start + 2 * OVERLAP)
        return True


@pytest.mark.parametrize("etag", ['"v1"', None], ids=["versioned", "unversioned"])
def test_dropped_connections_are_resumed(serve, tmp_path, etag):
    server = serve(act=drops, etag=etag)
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert left(tmp_path) == ["a.zip"]
    assert len(server.asked) >= 3
    assert server.asked[1] == (f"bytes={OVERLAP}-", etag)
    assert server.sent < 2 * len(BODY)  # resumed, not begun again


def test_a_later_call_goes_on_where_the_first_gave_up(serve, tmp_path):
    server = serve(act=lambda h, turn: h.reply(stop=3 * OVERLAP) or True)
    with pytest.raises(UserError, match="run the same command again"):
        fetch(server, tmp_path)
    assert left(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    server.act, server.asked = None, []
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert server.asked == [(f"bytes={2 * OVERLAP}-", '"v1"')]
    assert left(tmp_path) == ["a.zip"]


def test_server_without_ranges_is_begun_again_and_loses_nothing(serve, tmp_path):
    def act(handler, turn):
        if turn < 3:
            handler.reply(stop=turn * OVERLAP)
            return True

    server = serve(act=act, ranges=False)
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert len(server.asked) == 3


def test_server_that_always_truncates_ends_in_words(serve, tmp_path):
    server = serve(act=lambda h, turn: h.reply(stop=1000) or True, ranges=False)
    with pytest.raises(UserError, match="ended after 1000 of"):
        fetch(server, tmp_path)
    assert "a.zip" not in left(tmp_path)


def test_stalled_server_is_left_and_tried_again(serve, tmp_path):
    release = threading.Event()

    def act(handler, turn):
        if turn == 1:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(BODY)))
            handler.send_header("ETag", '"v1"')
            handler.end_headers()
            handler.wfile.write(BODY[: 2 * OVERLAP])
            handler.wfile.flush()
            release.wait(5)
            return handler.hang_up()

    server = serve(act=act)
    assert fetch(server, tmp_path, stall=0.2).read_bytes() == BODY
    release.set()
    assert len(server.asked) == 2


def test_trickling_server_counts_as_stalled(serve, tmp_path):
    ended = threading.Event()

    def act(handler, turn):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        while not ended.wait(0.05):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    with pytest.raises(UserError, match="bytes in 0 s"):
        fetch(serve(act=act), tmp_path, stall=0.2, attempts=1)
    ended.set()


@pytest.mark.parametrize("etag", ['"v1"', None], ids=["versioned", "unversioned"])
@pytest.mark.parametrize("size", [-999, 0, 999])
def test_file_that_changes_midway_is_begun_again(serve, tmp_path, etag, size):
    other = np.random.default_rng(1).bytes(len(BODY) + size)

    def act(handler, turn):
        if turn == 1:
            handler.reply(stop=3 * OVERLAP)
            handler.server.body = other
            handler.server.etag = etag and '"v2"'
            return True

    assert fetch(serve(act=act, etag=etag), tmp_path).read_bytes() == other
    assert left(tmp_path) == ["a.zip"]


def test_file_that_shrinks_below_what_is_here(serve, tmp_path):
    def act(handler, turn):
        if turn == 1:
            handler.reply(stop=4 * OVERLAP)
            handler.server.body = BODY[:100]
            return True

    assert fetch(serve(act=act, etag=None), tmp_path).read_bytes() == BODY[:100]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_busy_server_is_asked_again(serve, tmp_path, code):
    server = serve(act=lambda h, turn: turn < 3 and h.plain(code))
    assert fetch(server, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_refusal_is_told_at_once(serve, tmp_path, code):
    server = serve(act=lambda h, turn: h.plain(code))
    with pytest.raises(UserError, match=f"answered {code}"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1 and left(tmp_path) == []


def test_no_server_at_all(tmp_path):
    with pytest.raises(UserError, match="Gave up .* ConnectionRefused"):
        fetch_file("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", **QUICK)
    assert left(tmp_path) == []
    with pytest.raises(UserError, match="Could not reach"):
        ask("http://127.0.0.1:9/a.zip")
    with pytest.raises(UserError, match="not an address"):
        fetch_file("ftp://x/a", tmp_path / "a")


def digest(body, name="sha256"):
    return base64.b64encode(hashlib.new(name, body).digest()).decode()


HEADS = {
    "Repr-Digest": "sha-256=:{}:",
    "Digest": "SHA-256={}",
}


@pytest.mark.parametrize("field", HEADS)
def test_served_checksum_is_compared(serve, tmp_path, field):
    good = serve(more={field: HEADS[field].format(digest(BODY))})
    assert fetch(good, tmp_path).read_bytes() == BODY
    bad = serve(more={field: HEADS[field].format(digest(b"other"))})
    with pytest.raises(UserError, match="sha256 is"):
        fetch(bad, tmp_path / "bad")
    assert left(tmp_path / "bad") == []


def test_served_md5_is_compared(serve, tmp_path):
    with pytest.raises(UserError, match="md5 is"):
        fetch(serve(more={"Content-MD5": digest(b"other", "md5")}), tmp_path)


def test_known_size_and_checksum_are_compared(serve, tmp_path):
    server, right = serve(), hashlib.sha256(BODY).hexdigest()
    with pytest.raises(UserError, match="not the same file"):
        fetch(server, tmp_path, size=5)
    with pytest.raises(UserError, match="sha256 is"):
        fetch(server, tmp_path, sha256="0" * 64)
    assert left(tmp_path) == []
    path = fetch(server, tmp_path, size=len(BODY), sha256=right.upper())
    count = len(server.asked)
    assert fetch(server, tmp_path, size=len(BODY), sha256=right) == path
    assert len(server.asked) == count  # what is there whole is not fetched again
    path.write_bytes(b"x")
    with pytest.raises(UserError, match="Delete it"):
        fetch(server, tmp_path, size=len(BODY))


def test_corrupt_part_is_found_and_begun_again(serve, tmp_path):
    server = serve(act=lambda h, turn: h.reply(stop=4 * OVERLAP) or True)
    right = hashlib.sha256(BODY).hexdigest()
    with pytest.raises(UserError):
        fetch(server, tmp_path, attempts=1)
    part = tmp_path / "a.zip.part"
    part.write_bytes(b"?" + part.read_bytes()[1:])  # before what is compared
    server.act = None
    assert fetch(server, tmp_path, sha256=right).read_bytes() == BODY


def test_full_disk_is_told(serve, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="Free some space"):
        fetch(serve(), tmp_path)
    monkeypatch.undo()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sensorium_jax.io.get._copy", full)
    with pytest.raises(UserError, match="disk .* is full"):
        fetch(serve(), tmp_path)
    assert "a.zip" not in left(tmp_path)


def test_two_at_once_are_refused(serve, tmp_path):
    def act(handler, turn):
        with pytest.raises(UserError, match="Another process"):
            fetch(server, tmp_path)
        refused.append(turn)

    refused = []
    server = serve(act=act)
    assert fetch(server, tmp_path, stall=5).read_bytes() == BODY
    assert refused == [1]


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


GOOD = zipped([(f"{NAME}/data/videos/0.npy", b"abc"), (f"{NAME}/config.json", b"{}")])


def test_recording_becomes_a_folder(serve, tmp_path, capsys):
    server = serve(GOOD)
    words = ["download", SCAN, "--to", str(tmp_path), "--from", server.url]
    assert main([*words, "--dry-run", "--json"]) == 0
    told = capsys.readouterr()
    planned = json.loads(told.out)["recordings"]
    assert [p["state"] for p in planned] == ["planned"]
    assert planned[0]["size"] == len(GOOD) and not left(tmp_path)
    assert LICENSE in told.err and "CC BY-NC-ND" in LICENSE
    assert main(words) == 0
    assert "downloaded" in capsys.readouterr().out
    assert left(tmp_path) == [NAME]
    assert (tmp_path / NAME / "data/videos/0.npy").read_bytes() == b"abc"
    count = len(server.asked)
    assert main(words) == 0
    assert "there already" in capsys.readouterr().out and len(server.asked) == count


def test_hostile_archive_is_set_aside(serve, tmp_path, capsys):
    server = serve(zipped([(f"{NAME}/a", b"x"), ("../../evil", b"x")]))
    words = ["download", SCAN, "--to", str(tmp_path / "to"), "--from", server.url]
    assert main(words) == 1
    assert "outside the folder" in capsys.readouterr().err
    assert left(tmp_path / "to") == [f"{NAME}.zip.refused"]
    assert left(tmp_path) == ["to"]


def test_page_instead_of_archive_is_set_aside(serve, tmp_path):
    server = serve(b"<html>log in first</html>")
    with pytest.raises(UserError, match="log in first"):
        download(SCAN, tmp_path, source=server.url, **QUICK)
    server.body = GOOD
    (done,) = download(SCAN, tmp_path, source=server.url, keep_zips=True, **QUICK)
    assert done.state == "downloaded"
    assert left(tmp_path) == [NAME, f"{NAME}.zip", f"{NAME}.zip.refused"]


def test_plans_name_the_official_archives():
    assert [len(plan(w)) for w in ("2023-new", "2023-old", "2022")] == [5, 5, 7]
    (item,) = plan(NAME)
    assert plan(SCAN) == plan(f"dynamic{SCAN}") == plan(f"{NAME}.zip") == (item,)
    assert item.url == (
        f"https://gin.g-node.org/pollytur/sensorium_2023_dataset/raw/master/{NAME}.zip"
    )
    (gray,) = plan("27204-5-13")
    assert "/cajal/Sensorium2022/" in gray.url and "GrayImageNet" in gray.name
    assert plan("own", source="http://mirror/x/")[0].url == "http://mirror/x/own.zip"
    with pytest.raises(UserError, match="Did you mean '2023-new'"):
        plan("2023-nwe")
    with pytest.raises(UserError):
        plan("../x", source="http://mirror")


def test_fetching_twice_the_same_in_one_call_is_once(serve, tmp_path):
    server = serve(GOOD)
    done = download([SCAN, NAME], tmp_path, source=server.url, **QUICK)
    assert len(done) == 1
