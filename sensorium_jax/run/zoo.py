"""The commands `sensorium zoo list | show | import | fetch`."""

from pathlib import Path
from typing import Any

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome
from sensorium_jax.run.build import json_object, lacking
from sensorium_jax.text import align
from sensorium_jax.zoo import describe, load
from sensorium_jax.zoo.assemble import build, original_inputs, spec
from sensorium_jax.zoo.published import fetch as published
from sensorium_jax.zoo.published.sources import FILES, LICENSE, PAGE
from sensorium_jax.zoo.published.translate import FAMILIES


def listing() -> Outcome:
    """Every preset: what it equals, and whether its weights are published."""
    encoders = {n: build(n, original_inputs(n)) for n in describe.PRESETS}
    rows = [
        {
            "name": name,
            "equals": preset["equals"],
            "causal": encoders[name].causal,
            "lost_frames": encoders[name].core.lost_frames,
            "imports": name in FAMILIES,
            "published": FILES[name].name if name in FILES else None,
            "license": LICENSE if name in FILES else None,
        }
        for name, preset in describe.PRESETS.items()
    ]
    head = ["model", "lost", "causal", "equals"]
    table = []
    for r in rows:
        weights = f" (weights: sensorium zoo fetch {r['name']})" * bool(r["published"])
        causal = "yes" if r["causal"] else "NO"
        table.append([r["name"], str(r["lost_frames"]), causal, r["equals"] + weights])
    lines = [
        *(line.rstrip() for line in align([head, *table], left=4)),
        "",
        "lost: frames at the start of a clip without an answer. Sizes, and how much is "
        "computed: sensorium zoo show MODEL",
    ]
    return Outcome({"models": rows}, "\n".join(lines))


def show(
    name: str,
    *,
    mice: int = 1,
    neurons: int = 8000,
    frame: tuple[int, int, int] | None = None,
    behaviors: int | None = None,
    scale: float | None = None,
    data: str | None = None,
    change: str = "",
) -> Outcome:
    """Parts and sizes of a preset, for its original's inputs or for one's own.

    frame: rows, columns and channels as recorded. data: recordings, instead of all of
    these. change: parts of the model as JSON, as config.model.json takes them.
    """
    changes = json_object(change, "--change")
    asked = changes.pop("asking", {}) | ({} if scale is None else {"scale": scale})
    spec(name, changes)  # complains of unknown names
    source: Any = original_inputs(name)
    each: int | list[int] = neurons
    left = {}
    if data is not None:
        info = Recordings.open(data).mouse_info()
        left, source = lacking(name, info, changes), info
        each, mice = info.neurons_mn.sum(1).tolist(), len(info.names)
    if frame is not None:
        source = source._replace(frame_shape=frame)
    if behaviors is not None:
        source = source._replace(behaviors=behaviors)
    found = describe.describe(
        name, mice=mice, neurons=each, source=source, asking=asked, **changes, **left
    )
    counts = [f"  {k:10}{v:>14,}" for k, v in found["parameters"].items() if v]
    frames, height, width, features = found["maps"]
    kinds = [
        f"  {part:10}{', '.join(f'{k}={v}' for k, v in options.items())}"
        for part, options in found["model"].items()
        if isinstance(options, dict)
    ]
    lines = [
        f"{name}: {found['equals']}",
        f"parameters for {_of_mice(mice, each)}",
        *counts,
        _frames(found),
        f"{found['flops'] / 1e9:.3g} GFLOP (products) for each frame of a clip; "
        + ("causal" if found["asking"]["causal"] else "NOT causal: sees later frames"),
        f"maps {height} x {width} x {features}; a clip of {found['frames']} frames "
        f"gives {frames} (the first {found['lost_frames']} are lost)",
        *kinds,
    ]
    return Outcome(found, "\n".join(lines))


def _of_mice(mice: int, each: int | list[int]) -> str:
    if isinstance(each, int):
        return f"{mice} {'mouse' if mice == 1 else 'mice'} of {each:,} neurons"
    return f"{mice} mice of {', '.join(f'{n:,}' for n in each)} neurons"


def _frames(found: dict[str, Any]) -> str:
    """How frames and signals reach the core, in words."""
    height, width, channels = found["inputs"]["frame_shape"]
    seen = found["seen"]
    words = f"frames {height} x {width}" + f" x {channels}" * (channels > 1)
    if seen[:2] != [height, width]:
        words += f", which reach the core as {seen[0]} x {seen[1]}"
    return f"{words}; {found['inputs']['behaviors']} signals of behavior"


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
