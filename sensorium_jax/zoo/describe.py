"""Models by name: built, started, measured, loaded, fetched."""

import os
from pathlib import Path
from typing import Any

import jax

from sensorium_jax import trees
from sensorium_jax.axes import MouseInfo
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.models.encoder import Encoder, create
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.zoo.assemble import build, on_paper, original_inputs, spec
from sensorium_jax.zoo.load import load_folder, save
from sensorium_jax.zoo.presets.baselines import PRESETS
from sensorium_jax.zoo.twins.ensemble import Ensemble, ensemble
from sensorium_jax.zoo.twins.twin import Twin

__all__ = [
    "PRESETS",
    "Ensemble",
    "Twin",
    "build",
    "describe",
    "ensemble",
    "init",
    "load",
    "save",
]
PARTS = ("core", "gru", "readout", "shifter", "modulator")


def init(
    encoder: Encoder,
    info: MouseInfo,
    seed: int,
    *,
    frame_shape: tuple[int, int, int] | None = None,
) -> Any:
    """Starting variables {params, batch_stats, info} for these mice.

    frame_shape is given where frames are shrunk before they reach the core.
    """
    return create(
        encoder,
        mouse_rows(info),
        jax.random.key(seed),
        frame_shape=frame_shape or info.frame_shape,
        behaviors=info.behaviors,
    )


def describe(name: str, *, mice: int = 1, neurons: int = 8000, **changes: Any) -> dict:
    """Sizes of a preset with that many mice and neurons; nothing is computed.

    `parameters` counts each part and the total; `maps` is the core's output for a
    clip of `frames` frames as (frames, rows, columns, features).
    """
    if mice < 1 or neurons < 1:
        raise UserError(
            f"{mice} mice of {neurons} neurons: expected at least 1 of each."
        )
    parts, inputs = spec(name, changes), original_inputs(name)
    encoder = build(name, **changes)
    info = on_paper([f"mouse {i}" for i in range(mice)], [neurons] * mice, inputs)
    shapes = jax.eval_shape(lambda: init(encoder, info, 0))
    counts = dict.fromkeys(PARTS, 0) | trees.sizes(shapes["params"])
    frames = encoder.core.lost_frames + 30
    height, width, _ = inputs.frame_shape
    return {
        "name": name,
        "equals": PRESETS[name]["equals"],
        "mice": mice,
        "neurons": neurons,
        "parameters": {k: counts[k] for k in (*PARTS, "total")},
        "inputs": inputs._asdict(),
        "lost_frames": encoder.core.lost_frames,
        "frames": frames,
        "maps": list(encoder.core.out_shape(frames, height, width)),
        "model": parts,
    }


def load(source: str | Path, *, step: int | None = None) -> Twin:
    """A twin from a checkpoint folder, a run, or the name of a published model.

    A folder wins over a name. A published model is downloaded once and kept; see fetch.
    """
    if Path(source).expanduser().exists() or os.sep in str(source):
        return load_folder(source, step=step)
    from sensorium_jax.zoo.published import fetch, sources

    if str(source) not in sources.FILES:
        raise unknown(
            "model", str(source), sources.FILES, "Give a folder or one of these names."
        )
    return load_folder(fetch.fetch(str(source)))
