"""What a server says of a file: length, version, checksums, refusals."""

import base64
import binascii
import http.client
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

from sensorium_jax.errors import UserError
from sensorium_jax.io import web

PAUSES = (0.0, 1.0, 2.0)  # seconds before asking again what a name stands for
COUNT = re.compile(r"[0-9]{1,19}")  # more digits are no number of bytes
AGENT = {"User-Agent": "sensorium-jax (Python urllib)"}


class Served(NamedTuple):
    """What a server says of a file."""

    size: int | None
    validator: str  # strong ETag or Last-Modified, for If-Range; may be empty
    digests: dict[str, str]  # algorithm -> lower-case hex


def check_address(url: str) -> None:
    """Refuse what is no address of a web server."""
    if not url.startswith(("http://", "https://")):
        raise UserError(f"'{url}' is not an address: it must start with https://.")
    if problem := web.odd_address(url):
        raise UserError(f"'{url}' is not an address: {problem}. Check how it is spelt.")


def check_host(url: str) -> None:
    """Refuse an address whose host has no such name, before anything retries.

    Where a proxy stands between, only the proxy needs to know the name.
    """
    check_address(url)
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname
    if not host:
        raise UserError(f"'{url}' names no server. Expected https://server/path.")
    proxied = parts.scheme in urllib.request.getproxies()
    if proxied and not urllib.request.proxy_bypass(host):
        return
    for pause in PAUSES:
        time.sleep(pause)
        try:
            socket.getaddrinfo(host, None)
        except UnicodeError:  # no name of a host can be written so
            break
        except socket.gaierror as error:
            if error.errno != socket.EAI_AGAIN:  # else the name server is busy
                break
        else:
            return
    raise UserError(
        f"No server is called '{host}', as far as this machine can tell. Check the "
        "address, and that the network is up."
    )


def ask(url: str, *, stall: float = 60.0) -> Served:
    """What the server says of a file, without its bytes."""
    check_address(url)
    check_host(url)
    request = urllib.request.Request(url, method="HEAD", headers=AGENT)
    try:
        with web.opened(request, stall) as response:
            return served(response)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (405, 501):  # HEAD is not offered
                return Served(None, "", {})
            raise refusal(url, error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"Could not reach {url}: {words(error)}. Check the connection and retry."
        ) from error


def served(response: Any) -> Served:
    """The facts in a response's headers; a part (206) does not tell the whole size."""
    headers, whole = response.headers, response.status != 206
    length = headers.get("Content-Length", "")
    tag = headers.get("ETag", "")
    strong = "" if tag.startswith("W/") else tag
    return Served(
        count(length) if whole else None,
        strong or headers.get("Last-Modified", ""),
        _digests(headers, whole),
    )


def count(words: str) -> int | None:
    """The number of bytes that a header says; None where it says no such number."""
    return int(words) if COUNT.fullmatch(words) else None


def _digests(headers: Any, whole: bool) -> dict[str, str]:
    """Checksums of the whole file, where a server sends them (RFC 9530 and older)."""
    digests = {}
    for field in ("Repr-Digest", "Digest"):
        match = re.search(r"(?i)sha-256=:?([A-Za-z0-9+/=]+)", headers.get(field, ""))
        if match:
            digests["sha256"] = match[1]
    if whole and headers.get("Content-MD5"):
        digests["md5"] = headers["Content-MD5"]
    try:
        return {k: base64.b64decode(v, validate=True).hex() for k, v in digests.items()}
    except (binascii.Error, ValueError):
        return {}


def content_range(response: Any) -> tuple[int, int | None] | None:
    """First byte and whole size that a 206 names; None where it names none."""
    number = COUNT.pattern
    match = re.fullmatch(
        rf"bytes ({number})-{number}/({number}|\*)",
        response.headers.get("Content-Range", ""),
    )
    return match and (int(match[1]), count(match[2]))


def refusal(url: str, code: int) -> UserError:
    """The error for a status that retrying does not mend."""
    reason = http.client.responses.get(code, "")
    return UserError(
        f"{url}: the server answered {code} {reason}. Check the address in a browser; "
        "if the file has moved, give the new place or a mirror."
    )


def words(error: BaseException) -> str:
    """A network error in words."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return "no data came in time"
    return f"{type(reason).__name__}: {reason}".rstrip(": ")
