"""The commands `sensorium zoo list | show | import | fetch`."""

from pathlib import Path
from typing import Any

from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome
from sensorium_jax.zoo import describe, load
from sensorium_jax.zoo.published import fetch as published
from sensorium_jax.zoo.published.sources import FILES, LICENSE, PAGE
from sensorium_jax.zoo.published.translate import FAMILIES


def listing() -> Outcome:
    """Every preset: what it equals, and whether its weights are published."""
    rows = [
        {
            "name": name,
            "equals": preset["equals"],
            "imports": name in FAMILIES,
            "published": FILES[name].name if name in FILES else None,
            "license": LICENSE if name in FILES else None,
        }
        for name, preset in describe.PRESETS.items()
    ]
    lines = [
        f"{r['name']:16}{r['equals']}"
        + (f" (weights: sensorium zoo fetch {r['name']})" if r["published"] else "")
        for r in rows
    ]
    return Outcome({"models": rows}, "\n".join(lines))


def show(name: str, *, mice: int, neurons: int) -> Outcome:
    """Parts and sizes of a preset."""
    found = describe.describe(name, mice=mice, neurons=neurons)
    counts = [f"  {k:10}{v:>14,}" for k, v in found["parameters"].items() if v]
    frames, height, width, features = found["maps"]
    kinds = [
        f"  {part:10}{', '.join(f'{k}={v}' for k, v in options.items())}"
        for part, options in found["model"].items()
        if isinstance(options, dict)
    ]
    lines = [
        f"{name}: {found['equals']}",
        f"parameters for {mice} mice of {neurons:,} neurons",
        *counts,
        f"maps {height} x {width} x {features}; a clip of {found['frames']} frames "
        f"gives {frames} (the first {found['lost_frames']} are lost)",
        *kinds,
    ]
    return Outcome(found, "\n".join(lines))


def import_file(path: str, *, arch: str, out: str) -> Outcome:
    """Convert an original's .pth to a checkpoint folder."""
    atomic.need_place(out, folder=True)
    return _said(published.import_file(path, arch, out), asked=arch)


def fetch(name: str, *, source: str | None = None) -> Outcome:
    """Download published weights once; the license is shown each time."""
    options: dict[str, Any] = {"base": source} if source else {}
    outcome = _said(published.fetch(name, **options), asked=name)
    text = f"{outcome.text}\nfrom {PAGE}, {LICENSE}"
    return Outcome({**outcome.data, "license": LICENSE, "page": PAGE}, text)


def _said(folder: Path, *, asked: str) -> Outcome:
    twin = load.load(folder)
    mice = dict(zip(twin.mice, twin.neurons, strict=True))
    model = twin.card["model"]
    found = {"folder": str(folder), "model": model, "mice": mice}
    words = ", ".join(f"{name} ({count} neurons)" for name, count in mice.items())
    note = "" if model == asked else f" (the file is of {model}, not {asked})"
    return Outcome(found, f"{model}{note}: {words}\nin {folder}")
