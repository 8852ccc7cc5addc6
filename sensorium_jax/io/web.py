"""Requests over http and https only, whose answers must begin in time and end.

A server may be slow, silent or hostile: every answer has an idle limit, its headers a
total one, and small files are held to a number of bytes.
"""

import contextlib
import http.client
import socket
import threading
import time
import urllib.request
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
    return opener.open(request, timeout=stall)


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
    late = threading.Event()
    sock, limit = connection.sock, connection.timeout or STALL

    def hang_up() -> None:
        late.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(2 * limit, hang_up)
    timer.daemon = True
    timer.start()
    try:
        response = answer()
    except (OSError, http.client.HTTPException):
        if not late.is_set():
            raise
        response = None
    finally:
        timer.cancel()
    if late.is_set():  # what came before may look like a whole answer
        raise TimeoutError("the headers took too long")
    return response


def body(response: Any, most: int, name: str, *, total: float = TOTAL) -> bytes:
    """All bytes of an answer, refused where they are more than `most` or too slow."""
    pieces, size, end = [], 0, time.monotonic() + total
    while piece := response.read1(CHUNK):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise UserError(
                f"{name} sends more than {most} bytes, far more than such a file has. "
                "Nothing of it was kept; check the address."
            )
        if time.monotonic() > end:
            raise TimeoutError
    return b"".join(pieces)
