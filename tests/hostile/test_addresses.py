"""Servers that never end, never begin, send elsewhere, or send something else."""

import json
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest

from sensorium_jax.data.store.build import convert
from support.processes import attacked, web
from support.processes.attacked import Case
from support.recordings import tiny

SECOND = {
    "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": "1",
    "no_proxy": "127.0.0.1",
}
PIECE = bytes(1 << 20)


def endless(handler):
    """A body without a length that never ends."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(PIECE)


def endless_part(handler):
    """The range that was asked for, and more and more of it."""
    handler.send_response(206)
    handler.send_header("Content-Range", "bytes 0-0/9236")
    handler.end_headers()
    while True:
        handler.wfile.write(PIECE)


def huge(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 40))
    handler.end_headers()
    while True:
        handler.wfile.write(PIECE)


def silent(handler):
    time.sleep(8)


def silent_body(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.flush()
    time.sleep(8)


def drip(handler):
    """A byte now and then."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(400):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def drip_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(400):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.02)


def many_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X: " + b"x" * 60_000 + b"\r\n")


def cut(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")


def noise(handler):
    handler.wfile.write(b"\x00\xff\x00 not http at all\r\n\r\n")


def answer(code, content=b"", **headers):
    def act(handler):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return act


def to(address):
    return answer(302, Location=address)


def in_circles(handler):
    to(handler.path)(handler)


def plain(head, body=b"{}"):
    """An answer in our own words, whatever http says of such."""

    def act(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body)

    return act


def endless_end(handler):
    """A whole body, after which lines come that it does not need."""
    plain(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n")(handler)
    for _ in range(400):
        handler.wfile.write(b"X: y\r\n")
        time.sleep(0.02)


def endless_redirect(handler):
    handler.send_response(302)
    handler.send_header("Location", "/nothing")
    handler.end_headers()
    while True:
        handler.wfile.write(PIECE)


DIGITS = b"9" * 5000
ELSEWHERE = json.dumps(
    {"attributes": {"sensorium": {"version": 1, "sessions": ["/tmp/elsewhere"]}}}
).encode()
# Where in a store, what the server does there, and what is said.
STORES = {
    "endless header": ("/zarr.json", endless, "sends more than"),
    "huge header": ("/zarr.json", huge, "sends more than"),
    "silent header": ("/zarr.json", silent, "out of reach"),
    "silent body": ("/zarr.json", silent_body, "out of reach"),
    "dripping header": ("/zarr.json", drip, "out of reach"),
    "dripping headers of http": ("/zarr.json", drip_headers, "out of reach"),
    "headers without end": ("/zarr.json", many_headers, "out of reach"),
    "cut": ("/zarr.json", cut, "out of reach"),
    "noise": ("/zarr.json", noise, "out of reach"),
    "a page": ("/zarr.json", answer(200, b"<html>hello"), "a web page"),
    "nothing": ("/zarr.json", answer(404), "has no zarr.json"),
    "forbidden": ("/zarr.json", answer(403), "403"),
    "busy": ("/zarr.json", answer(503), "answered 503"),
    "to a file": ("/zarr.json", to("file:///etc/passwd"), "302"),
    "to ftp": ("/zarr.json", to("ftp://127.0.0.1/x"), "no address of a web server"),
    "to gopher": ("/zarr.json", to("gopher://127.0.0.1/x"), "302"),
    "to data": ("/zarr.json", to("data:,x"), "302"),
    "in circles": ("/zarr.json", in_circles, "302"),
    "elsewhere": ("/zarr.json", answer(200, ELSEWHERE), "Expected letters"),
    "to half an address": ("/zarr.json", to("http://["), "no address"),
    "to no port": ("/zarr.json", to("http://127.0.0.1:99999/"), ""),
    "to a word as port": ("/zarr.json", to("http://127.0.0.1:x/"), "out of reach"),
    "to other letters": ("/zarr.json", to("http://127.0.0.1/a\xffb"), ""),
    "lines without end": ("/zarr.json", endless_end, "out of reach"),
    "a redirect without end": ("/zarr.json", endless_redirect, "has no zarr.json"),
    "a length of 5000 digits": (
        "/zarr.json",
        plain(b"Content-Length: " + DIGITS),
        "not a store",
    ),
    "a length in other digits": ("/zarr.json", plain(b"Content-Length: \xb2"), ""),
    "endless mouse": ("/dynamic0/zarr.json", endless, "sends more than"),
    "silent columns": ("/meta.npz", silent_body, "out of reach"),
    "a page for columns": ("/meta.npz", answer(200, b"<html>"), "no whole .npz"),
    "endless array": ("/responses/zarr.json", endless, "sends more than"),
    "silent array": ("/responses/zarr.json", silent, "out of reach"),
    "endless shard": ("/responses/c/0/0/0", endless, "asked for one byte"),
    "endless part": ("/responses/c/0/0/0", endless_part, "asked for one byte"),
    "silent shard": ("/responses/c/0/0/0", silent, "out of reach"),
    "dripping shard": ("/responses/c/0/0/0", drip, "asked for one byte"),
    "a shard in a file": ("/responses/c/0/0/0", to("file:///etc/passwd"), "302"),
    "a page for a shard": ("/responses/c/0/0/0", answer(200, b"x"), "one byte"),
    "no shard": ("/responses/c/0/0/0", answer(404), "404"),
    "a size in other digits": (
        "/responses/c/0/0/0",
        answer(206, b"x", Content_Range="bytes 0-0/\xb2"),
        "",
    ),
}
# Objects of a bucket, which the storage library itself asks for.
BUCKET = {
    "huge": (answer(200, b" " * (17 << 20)), "sends 17825792 bytes"),
    "silent": (silent, "out of reach"),
    "forbidden": (answer(403, b"{}"), "out of reach"),
    "a page": (answer(200, b"<html>hello"), "a web page"),
}
FILES = {
    "silent": (silent, "no data came in time"),
    "silent body": (silent_body, "no data came in time"),
    "dripping": (drip, "length"),
    "headers that drip": (drip_headers, "no data came in time"),
    "headers without end": (many_headers, "Gave up"),
    "cut": (cut, "ended after"),
    "noise": (noise, "Gave up"),
    "to a file": (to("file:///etc/passwd"), "302"),
    "to ftp": (to("ftp://127.0.0.1/x"), "no address of a web server"),
    "in circles": (in_circles, "302"),
    "no length": (endless, "without a length"),
    "a length that is none": (answer(200, b"x", Content_Length="-5"), ""),
    "compressed": (answer(200, b"x", Content_Encoding="gzip"), "compressed"),
    "lines without end": (endless_end, "no data came in time"),
    "a length of 5000 digits": (plain(b"Content-Length: " + DIGITS), "a length"),
    "a length in other digits": (plain(b"Content-Length: \xb2"), "without a length"),
    "to half an address": (to("http://["), "no address"),
    "to no port": (to("http://127.0.0.1:99999/"), ""),
}
PARTS = {
    "endless": (endless_part, "sends more than"),
    "whole": (answer(200, b"x" * 5000), "byte ranges"),
    "silent": (silent, "in 2 attempts"),
    "to ftp": (to("ftp://127.0.0.1/x"), "no address of a web server"),
    "a size of 5000 digits": (
        answer(206, b"x", Content_Range=f"bytes 0-0/{'9' * 5000}"),
        "byte ranges",
    ),
    "to half an address": (to("http://["), "no address"),
    "a size without end": (
        answer(206, b"x", Content_Range=f"bytes 0-0/{1 << 62}"),
        "did not send",
    ),
}


class Odd(web.Ranges):
    """Answers the paths that end so as an attacker does; all else as it should."""

    acts: dict = {}  # noqa: RUF012

    def do_GET(self):
        for end, act in self.acts.items():
            if self.path.split("?")[0].endswith(end):
                self.close_connection = True
                try:
                    return act(self)
                except OSError:  # the other side has hung up
                    return None
        return super().do_GET()

    do_HEAD = do_GET  # noqa: N815


@contextmanager
def served(folder, acts):
    """The folder at many addresses: /<number>/... behaves as acts[number] says."""

    class Handler(Odd):
        pass

    Handler.acts = acts
    server = web.Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    tiny.films(root / "tree", 1, frames=8, size=(4, 5))
    convert(root / "tree", root / "store", durable=False)
    return root


def test_stores_by_address(folder, tmp_path):
    cases, acts = [], {}
    for i, (name, (end, act, said)) in enumerate(STORES.items()):
        (tmp_path / f"s{i}").symlink_to(folder / "store")
        place = end if end != "/zarr.json" else f"s{i}/zarr.json"
        acts[f"s{i}/dynamic0{end}" if place == end and "dyn" not in end else place] = (
            act
        )
        if "dyn" in end:
            acts[f"s{i}{end}"] = acts.pop(place)
        cases.append((name, f"s{i}", said))
    acts |= {f"b{i}%2Fzarr.json": act for i, (act, _) in enumerate(BUCKET.values())}
    with served(tmp_path, acts) as url:
        (tmp_path / "good").symlink_to(folder / "store")
        listed = [Case(n, ("url", f"{url}/{place}"), said) for n, place, said in cases]
        listed.append(Case("another scheme", ("url", "ftp://x/y"), "no address"))
        listed.append(Case("a file", ("url", "file:///etc"), "no address"))
        for odd in ("http://[", "http://127.0.0.1:99999/x", "http://127.0.0.1/\xe4"):
            listed.append(Case(odd, ("url", odd), "not an address"))
        for i, (name, (_, said)) in enumerate(BUCKET.items()):
            listed.append(Case(f"bucket: {name}", ("url", f"gs://bucket/b{i}"), said))
        healthy = [Case("good", ("url", f"{url}/good"))]
        env = SECOND | {"TENSORSTORE_GCS_HTTP_URL": url}
        env |= {"GOOGLE_AUTH_TOKEN_FOR_TESTING": "none"}
        problems = attacked.run(tmp_path, listed, healthy=healthy, env=env)
    assert not problems, "\n".join(problems)


def test_files_by_address(tmp_path):
    (tmp_path / "good").write_bytes(bytes(6000))
    (tmp_path / "out").mkdir()
    acts = {f"f{i}": act for i, (act, _) in enumerate(FILES.values())}
    acts |= {f"p{i}": act for i, (act, _) in enumerate(PARTS.values())}
    with served(tmp_path, acts) as url:
        cases = [
            Case(f"fetch {n}", ("fetch", f"{url}/f{i}", str(tmp_path / f"out/{i}")), s)
            for i, (n, (_, s)) in enumerate(FILES.items())
        ]
        cases += [
            Case(f"part {n}", ("remote", f"{url}/p{i}"), s)
            for i, (n, (_, s)) in enumerate(PARTS.items())
        ]
        healthy = [
            Case("good", ("fetch", f"{url}/good", str(tmp_path / "out/good"))),
            Case("good part", ("remote", f"{url}/good")),
        ]
        problems = attacked.run(tmp_path, cases, healthy=healthy, env=SECOND)
    assert not problems, "\n".join(problems)
