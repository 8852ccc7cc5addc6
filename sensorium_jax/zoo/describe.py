"""Models by name: started, and measured without computing anything."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from sensorium_jax import trees
from sensorium_jax.axes import MouseInfo
from sensorium_jax.errors import UserError
from sensorium_jax.models.encoder import PARTS, Encoder, create
from sensorium_jax.models.ops import formulation
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.normalize import seen_shape
from sensorium_jax.zoo import fitting, work
from sensorium_jax.zoo.assemble import (
    Inputs,
    asking_of,
    build,
    on_paper,
    original_inputs,
    spec,
)
from sensorium_jax.zoo.presets.named import PRESETS


def names(pattern: str = "*") -> list[str]:
    """Names of the presets that a pattern such as '*2023*' matches."""
    return [name for name in PRESETS if fnmatchcase(name, pattern)]


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


def describe(
    name: str,
    *,
    mice: int = 1,
    neurons: int | Sequence[int] = 8000,
    source: Any = None,
    asking: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict:
    """Sizes of a preset with that many mice and neurons; nothing is computed.

    neurons: of each mouse, or one number for all. source: recordings or Inputs, else
    the model takes those of its original. asking: changes of how it is asked.
    `parameters` counts each part and the total; `seen` are the frames as they reach the
    core; `maps` is the core's output for a clip of `frames` frames as (frames, rows,
    columns, features). `flops` are those of one more frame of a longer clip.
    """
    each = [neurons] * mice if isinstance(neurons, int) else list(neurons)
    if not each or min(each) < 1:
        raise UserError(
            f"{len(each)} mice of {neurons} neurons: expected at least 1 of each."
        )
    parts = spec(name, changes)
    inputs = original_inputs(name) if source is None else Inputs.of(source)
    encoder = build(name, inputs, allow_outside=True, **changes)
    asked = asking_of(name, encoder, **(asking or {}))
    seen = seen_shape(inputs.frame_shape, asked.scale, asked.canvas)
    fitting.check(encoder.core, seen[:2], recorded=inputs.frame_shape[:2])
    info = on_paper([f"mouse {i}" for i in range(len(each))], each, inputs)
    shapes = jax.eval_shape(lambda: init(encoder, info, 0, frame_shape=seen))
    counts = dict.fromkeys(PARTS, 0) | trees.sizes(shapes["params"])
    frames = encoder.core.lost_frames + 30

    def flops(count: int) -> int:
        lead, float32 = (len(each), 1, count), jnp.float32
        signals = ((*lead, n) for n in (inputs.behaviors, 2))
        arrays = ((*lead, *seen), *signals)
        clip = [jax.ShapeDtypeStruct(shape, float32) for shape in arrays]
        with formulation.use("library"):  # the others may compute some things twice
            return work.products(partial(encoder.apply, train=False), shapes, *clip)

    return {
        "name": name,
        "equals": PRESETS[name]["equals"],
        "mice": len(each),
        "neurons": neurons if isinstance(neurons, int) else each,
        "parameters": {k: counts[k] for k in (*PARTS, "total")},
        "inputs": inputs._asdict(),
        "asking": asked.as_json(),
        "flops": (flops(frames + 10) - flops(frames)) // 10,
        "seen": list(seen),
        "lost_frames": encoder.core.lost_frames,
        "frames": frames,
        "maps": list(encoder.core.out_shape(frames, *seen[:2])),
        "model": parts,
    }
