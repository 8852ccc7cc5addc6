"""Small files of a web server, whole, and whether it sends ranges as it is asked."""

import contextlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.io.served import AGENT, check_address, count, refusal, words
from sensorium_jax.io.web import BUSY, STALL, TOTAL, body, opened

ATTEMPTS, PAUSE = 5, 0.5
PROBE = 15.0  # seconds; a process that ends waits for such questions


@contextlib.contextmanager
def _answer(url: str, headers: dict[str, str], stall: float) -> Iterator[Any]:
    request = urllib.request.Request(url, headers=AGENT | headers)
    with opened(request, stall) as response:
        yield response


def whole(
    url: str,
    most: int,
    *,
    stall: float = STALL,
    total: float = TOTAL,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> bytes | None:
    """A small file whole; None where the server has no such file."""
    check_address(url)
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(min(pause * 2 ** (attempt - 1), 5.0))
        try:
            with _answer(url, {"Accept-Encoding": "identity"}, stall) as response:
                said = count(response.headers.get("Content-Length", ""))
                data = body(response, most, url, total=total)
                if said is not None and len(data) != said:
                    raise http.client.IncompleteRead(b"", said)
                return data
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (404, 410):
                    return None
                if error.code not in BUSY:
                    raise refusal(url, error.code) from None
                reason = f"the server answered {error.code}"
        except (OSError, http.client.HTTPException) as error:
            reason = words(error)
            if isinstance(error, TimeoutError):
                break  # it had its time
    raise UserError(
        f"{url} is out of reach: {reason}. Check the address and that its server is "
        "running."
    )


def check_ranges(url: str, *, stall: float = PROBE) -> int:
    """The bytes of a file whose server sends exactly the range that it is asked for.

    Libraries that read ranges take in whatever comes, however much that is.
    """
    try:
        headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
        with _answer(url, headers, stall) as response:
            span = response.headers.get("Content-Range", "")
            first, _, size = span.rpartition("/")
            length = response.headers.get("Content-Length", "")
            if response.status != 206 or first != "bytes 0-0" or length != "1":
                raise UserError(
                    f"{url}: the server was asked for one byte and sends "
                    f"{length or 'an unknown number of'} bytes ({response.status}). "
                    "A store needs a server that answers byte ranges."
                )
            body(response, 1, url)
            known = count(size)
            return -1 if known is None else known
    except urllib.error.HTTPError as error:
        with error:
            raise refusal(url, error.code) from None
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"{url} is out of reach: {words(error)}. Check that its server is running."
        ) from None
