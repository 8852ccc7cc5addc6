"""Requests over http and https only, whose answers must begin in time and end.

A server may be slow, silent or hostile: every answer has an idle limit, its headers a
total one, and small files are held to a number of bytes.
"""

import contextlib
import http.client
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from sensorium_jax.errors import UserError

STALL = 60.0  # seconds without data
TOTAL = 300.0  # seconds for a small file
BUSY = (408, 425, 429, 500, 502, 503, 504)
CHUNK = 1 << 16


def opened(request: urllib.request.Request, stall: float) -> Any:
    """The answer to a request, as urllib gives it; no other scheme is understood."""
    plain, secure = urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()
    redirects = urllib.request.HTTPRedirectHandler()
    follow = redirects.redirect_request

    def redirect(req: Any, fp: Any, code: Any, msg: Any, headers: Any, to: str) -> Any:
        if not to.startswith(("http://", "https://")):
            raise UserError(
                f"{req.full_url}: the server sends on to {to!r:.100}, which is no "
                "address of a web server. Nothing was read there; check the address."
            )
        _set(fp, "read", bytes)  # else its body is read to an end that may not come
        return follow(req, fp, code, msg, headers, to)

    _set(redirects, "redirect_request", redirect)
    http_, https = http.client.HTTPConnection, http.client.HTTPSConnection
    _set(plain, "http_open", lambda r: plain.do_open(_timed(http_), r))
    _set(secure, "https_open", lambda r: secure.do_open(_timed(https), r))
    # Made anew each time, since the proxies that the environment names may change.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        plain,
        secure,
        urllib.request.HTTPDefaultErrorHandler(),
        redirects,
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    try:
        return opener.open(request, timeout=stall)
    except (ValueError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        # A letter or a port that no address has, here or where it sends on to.
        raise UserError(
            f"{request.full_url!r} is no address, or its server sends on to none "
            f"({error}). Check the address."
        ) from None


def odd_address(url: str) -> str:
    """Why nothing can be asked of an address; nothing where it may be one."""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # read only when it is asked for
    except ValueError as error:
        return str(error)
    plain = (parts.path + parts.query).isascii()
    return "" if plain else "letters such as ä are written as %C3%A4 in it"


class Watch:
    """Hangs up where an answer takes too long, whatever the library waits for.

    It reads lines between the parts of a body, and after it, that may have no end.
    """

    def __init__(self, hang_up: Callable[[], Any], seconds: float):
        """Begin to count."""
        self.hang_up, self.seconds, self.late = hang_up, seconds, False
        self.ended = threading.Event()
        self.again()
        threading.Thread(target=self._wait, daemon=True).start()

    def again(self) -> None:
        """Count anew, as something has come."""
        self.until = time.monotonic() + self.seconds

    def _wait(self) -> None:
        while (left := self.until - time.monotonic()) > 0:
            if self.ended.wait(left):
                return
        self.late = True
        self.hang_up()


@contextlib.contextmanager
def watched(hang_up: Callable[[], Any], seconds: float, what: str) -> Iterator[Watch]:
    """Read an answer inside; TimeoutError where that takes longer than so many seconds.

    What came before may look like a whole answer.
    """
    watch = Watch(hang_up, seconds)
    try:
        yield watch
    except (OSError, http.client.HTTPException):
        if not watch.late:
            raise
    finally:
        watch.ended.set()
    if watch.late:
        raise TimeoutError(f"{what} took too long")


def _set(thing: Any, name: str, function: Any) -> None:
    """Replace a method of one object."""
    setattr(thing, name, function)


def _timed(kind: Any) -> Any:
    """Connections whose headers may not trickle in for ever, byte by byte."""

    def connection(*arguments: Any, **options: Any) -> Any:
        made = kind(*arguments, **options)
        answer = made.getresponse
        _set(made, "getresponse", lambda: _in_time(made, answer))
        return made

    return connection


def _in_time(connection: Any, answer: Any) -> Any:
    sock = connection.sock

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    response = None
    with watched(hang_up, 2 * (connection.timeout or STALL), "the headers"):
        response = answer()
    _set(response, "hang_up", hang_up)
    return response


def body(response: Any, most: int, name: str, *, total: float = TOTAL) -> bytes:
    """All bytes of an answer, refused where they are more than `most` or too slow."""
    pieces, size = [], 0
    with watched(response.hang_up, total, "the answer"):
        while piece := response.read1(CHUNK):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise UserError(
                    f"{name} sends more than {most} bytes, far more than such a file "
                    "has. Nothing of it was kept; check the address."
                )
    return b"".join(pieces)
