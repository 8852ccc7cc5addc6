"""The command `sensorium download`."""

import sys

from sensorium_jax.data.release.download import LICENSE, Fetched, download as fetch
from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome


def download(
    what: list[str],
    to: str,
    *,
    dry_run: bool = False,
    source: str | None = None,
    keep_zips: bool = False,
    stall: float = 60.0,
) -> Outcome:
    """Fetch and unpack recordings; the license is shown before anything is fetched."""
    if not dry_run:
        atomic.need_place(to, folder=True)
    print(LICENSE, file=sys.stderr)
    done = fetch(
        what, to, dry_run=dry_run, source=source, keep_zips=keep_zips, stall=stall
    )
    return Outcome(
        {"to": to, "license": LICENSE, "recordings": [f._asdict() for f in done]},
        "\n".join(_line(f) for f in done),
    )


def _line(fetched: Fetched) -> str:
    size = "size unknown" if fetched.size is None else f"{fetched.size / 1e9:.2f} GB"
    if fetched.state == "there already":
        return f"{fetched.name}: there already"
    return f"{fetched.name}: {fetched.state}, {size}, from {fetched.url}"
