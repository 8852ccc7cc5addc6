"""One file from the web, whole or not at all.

Bytes gather in `NAME.part`, beside a note of what the server said of the file, and
take their final name only when the length and every checksum known agree.
"""

from sensorium_jax.fetch.get import fetch_file
from sensorium_jax.fetch.served import Served, ask

__all__ = ["Served", "ask", "fetch_file"]
