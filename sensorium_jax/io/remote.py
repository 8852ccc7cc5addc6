"""A file on a web server as a file object: bytes come by range requests, when read."""

import contextlib
import http.client
import io
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import OrderedDict
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.io import web
from sensorium_jax.io.served import (
    AGENT,
    check_address,
    check_host,
    content_range,
    refusal,
    served,
    words,
)

BLOCK = 1 << 20  # bytes asked for at a time
KEPT = 64  # blocks in memory
EXPIRED = (401, 403, 410)  # of an address that a server redirected to, and signed


class Unreachable(UserError):
    """The server did not answer; the same command may succeed later."""


class Remote(io.RawIOBase):
    """Reads a file by ranges; a file that changes meanwhile is an error.

    Libraries in C may swallow an error in the middle of a read: it stays in `failure`.
    """

    def __init__(
        self,
        url: str,
        *,
        stall: float = 60.0,
        attempts: int = 5,
        pause: float = 1.0,
        block: int = BLOCK,
    ):
        """Ask for the first block, and with it for the size."""
        check_address(url)
        check_host(url)
        self.url, self.address, self.name = url, url, hidden(url)
        self.stall, self.attempts, self.pause, self.block = (
            stall,
            attempts,
            pause,
            block,
        )
        self.position, self.requests = 0, 0
        self.blocks: OrderedDict[int, bytes] = OrderedDict()
        self.failure: UserError | None = None
        self.size, self.validator = -1, ""
        self.blocks[0] = self._fetched(0)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}
        self.position = max(0, base[whence] + offset)
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; fewer bytes than it holds only at the end of the file."""
        view = memoryview(buffer).cast("B")
        want = max(0, min(len(view), self.size - self.position))
        done = 0
        while done < want:
            number, offset = divmod(self.position, self.block)
            piece = self._block(number)[offset : offset + want - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self.position += len(piece)
        return done

    def _block(self, number: int) -> bytes:
        if number in self.blocks:
            self.blocks.move_to_end(number)
            return self.blocks[number]
        try:
            content = self._fetched(number)
        except UserError as error:
            self.failure = error
            raise
        self.blocks[number] = content
        if len(self.blocks) > KEPT:
            self.blocks.popitem(last=False)
        return content

    def _fetched(self, number: int) -> bytes:
        """One block, asked for until it comes or attempts are used up."""
        first = number * self.block
        last = (
            first + self.block - 1
            if self.size < 0
            else min(first + self.block, self.size) - 1
        )
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            headers = AGENT | {
                "Range": f"bytes={first}-{last}",
                "Accept-Encoding": "identity",
            }
            request = urllib.request.Request(self.address, headers=headers)
            self.requests += 1
            try:
                with web.opened(request, self.stall) as response:
                    return self._received(response, first, last)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code in EXPIRED and self.address != self.url:
                        self.address = self.url
                    elif error.code not in web.BUSY:
                        raise refusal(self.name, error.code) from None
                    reason = f"it answered {error.code}"
            except (OSError, http.client.HTTPException) as error:
                reason = words(error)
        raise Unreachable(
            f"{self.name} did not send bytes {first} to {last} in {self.attempts} "
            f"attempts: {reason}. Check the connection and run the same command again, "
            "or download the file first and give its path."
        )

    def _received(self, response: Any, first: int, last: int) -> bytes:
        where = content_range(response)
        if response.status != 206 or where is None or where[1] is None:
            raise UserError(
                f"{self.name} is on a server that does not answer byte ranges, so the "
                "file cannot be read in parts. Download it and give its path."
            )
        validator = served(response).validator
        known = (where[1], validator) if self.size < 0 else (self.size, self.validator)
        if where[0] != first or (where[1], validator) != known:
            raise UserError(
                f"{self.name} changed on the server while it was read. Run the same "
                "command into a new folder."
            )
        expected = min(last + 1, where[1]) - first
        content = web.body(response, expected, self.name, total=20 * self.stall)
        if len(content) != expected:
            raise http.client.IncompleteRead(content[:0], expected)
        if self.size < 0:
            self.size, self.validator = known
            self.address = response.geturl()
        return content


@contextlib.contextmanager
def opened(url: str, **options: Any):
    """A Remote; what went wrong inside a library's read is raised in its own words."""
    with Remote(url, **options) as file:
        try:
            yield file
        except (OSError, RuntimeError, ValueError, KeyError):
            if file.failure:
                raise file.failure from None
            raise


def hidden(url: str) -> str:
    """An address without what may be a password: user, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))
