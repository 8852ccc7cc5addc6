"""The true cells of other worlds as twins: their rates in JAX, for any stimulus.

The numpy functions beside the cells make the recordings; what is here says the same,
differentiably, and a test holds one against the other. Cells follow from the world's
name, the seed and the mouse, so a recording need not hold them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = Any
TINY = 1e-9  # where a root has no slope
TAIL = 1e-5  # of a sensor's memory that is left out


class Answer(NamedTuple):
    """What a world says of one mouse for those who ask its true cells."""

    rates: Callable[..., Array]  # (video_thwc, behavior_tk or None) -> rates_tn
    cells: int
    memory: int | None  # frames that a rate depends on
    light: tuple[float, float]  # grey level without a stimulus, and a unit of contrast


class Truths(NamedTuple):
    """The mice of one tree, answering like any twin; nothing depends on the gaze."""

    mice: tuple[str, ...]  # folder names
    frame_shape: tuple[int, int, int]
    hertz: float | None  # None for pictures
    behaviors: int
    answers: tuple[Answer, ...]

    raw = ("video", "behavior", "pupil")
    lost_frames = 0
    units = "raw"
    degrees_per_pixel = None

    @property
    def neurons(self) -> tuple[int, ...]:
        """Cells of each mouse."""
        return tuple(a.cells for a in self.answers)

    @property
    def frames_per_second(self) -> float | None:
        """Of films; pictures have no time."""
        return self.hertz

    @property
    def memory(self) -> int | None:
        """Frames that a rate depends on; None where it never forgets."""
        every = [a.memory for a in self.answers]
        return None if None in every else max(m for m in every if m is not None)

    def respond(
        self,
        video_bthwc: Array,
        behavior_btk: Array | None,
        pupil_bt2: Array | None,
        mouse: int | str,
        first_frame_b: Array | int = 0,
    ) -> Array:
        """True rates [B, T, N] in raw response units from raw inputs."""
        del pupil_bt2, first_frame_b
        answer = self.answers[self.row(mouse)].rates
        video_bthwc = jnp.asarray(video_bthwc, jnp.float32)  # bytes would wrap around
        if behavior_btk is None:
            return jax.lax.map(lambda video: answer(video, None), video_bthwc)
        return jax.lax.map(lambda both: answer(*both), (video_bthwc, behavior_btk))

    def row(self, mouse: int | str) -> int:
        """Row of a mouse, from its number or its name."""
        return self.mice.index(mouse) if isinstance(mouse, str) else int(mouse)

    def light(self, mouse: int | str) -> tuple[float, float]:
        """Grey level without a stimulus, and one unit of contrast."""
        return self.answers[self.row(mouse)].light

    def usual(self, mouse: int | str) -> tuple[np.ndarray, np.ndarray]:
        """An animal at rest."""
        del mouse
        return np.zeros(self.behaviors, np.float32), np.zeros(2, np.float32)


def sensor(after: Callable[[np.ndarray], np.ndarray]) -> tuple[float, np.ndarray]:
    """What a sensor shows without events, and what one event adds, frame by frame.

    Sensors add up events, so this is all of them.
    """
    once = np.zeros((400, 1))
    rest = float(after(once)[0, 0])
    once[0] = 1.0
    added = after(once)[:, 0] - rest
    last = np.flatnonzero(added > TAIL * added.max())[-1]
    return rest, added[: last + 1]


def _wide(cells: Any) -> Any:
    """The numbers of cells on the device, with a leading axis of frames."""

    def one(x):
        x = jnp.asarray(x)
        return x[None] if x.ndim == 1 else x

    return jax.tree.map(one, cells._replace(kind=0))


def filtered(x_tn: Array, kernel_nl: Array) -> Array:
    """Causal filters in time [T, N], the newest frame first; grey came before."""
    taps, frames = kernel_nl.shape[1], x_tn.shape[0]
    padded = jnp.pad(x_tn, ((taps - 1, 0), (0, 0)))
    lags = [padded[taps - 1 - k : taps - 1 - k + frames] for k in range(taps)]
    return sum(x * kernel_nl[None, :, k] for k, x in enumerate(lags))


def cascade(law: Any, cells: Any, after: Callable, runs: int | None) -> Answer:
    """Cells of simulation/cascade, with what a sensor makes of their events."""
    passed = PASSED[law.nonlinearity]
    rest, added = sensor(after)
    c = _wide(cells)
    kernel_nl = jnp.broadcast_to(jnp.asarray(added), (len(cells.kind), len(added)))

    def rates(video_thwc, behavior_tk):
        seen_tp = (video_thwc.reshape(len(video_thwc), -1) - 127) / 60
        even, odd = (
            filtered(seen_tp @ f.T, c.kernel_nl) for f in (c.even_np, c.odd_np)
        )
        energy = jnp.sqrt(even**2 + odd**2 + TINY)
        raw_tn = (1 - c.complexity) * even + c.complexity * energy
        over = c.steepness * ((raw_tn - c.mean) / c.spread - c.threshold)
        events_tn = c.gain * passed(over)
        if runs is not None and behavior_tk is not None:
            run_t1 = jnp.tanh(behavior_tk[:, runs : runs + 1] / 2)
            events_tn = events_tn * jnp.exp(c.run_gain * run_t1)
        return rest + filtered(events_tn, kernel_nl)

    taps = cells.kernel_nl.shape[1] + len(added) - 1
    return Answer(rates, len(cells.kind), taps, (127.0, 60.0))


PASSED: dict[str, Callable[[Array], Array]] = {
    "exponential": lambda x: jnp.exp(jnp.minimum(x, 4.0)),
    "power": lambda x: jnp.maximum(x, 0) ** 1.5 + 0.05,
    "squared": lambda x: jnp.logaddexp(0.0, x) ** 2,
    "threshold": lambda x: 1 / (1 + jnp.exp(-4 * x)) + 1e-4,
}


def retina(cells: Any, keep: float, most: float) -> Answer:
    """Cells of simulation/retina; their gain never quite forgets."""
    c = _wide(cells)
    n, s, p = cells.field_nsp.shape

    def adapted(memory_n, now_n):
        out_n = now_n / (0.15 + c.adapt[0] * memory_n)
        return keep * memory_n + (1 - keep) * now_n, out_n

    def rates(video_thwc, behavior_tk):
        del behavior_tk
        seen_tp = (video_thwc.reshape(len(video_thwc), -1) - 127) / 60
        raw_tu = seen_tp @ c.field_nsp.reshape(n * s, p).T
        passed_tu = filtered(raw_tu, jnp.repeat(c.kernel_nl, s, 0))
        passed_tns = jnp.maximum(passed_tu, 0).reshape(-1, n, s)
        pooled_tn = jnp.einsum("tns,ns->tn", passed_tns, c.pool_ns)
        start_n = jnp.full(n, 0.15, pooled_tn.dtype)
        _, drive_tn = jax.lax.scan(adapted, start_n, pooled_tn)
        fired_tn = jnp.logaddexp(0.0, 2 * c.sharpness * (drive_tn - c.threshold)) / 2
        return most * jnp.tanh(c.gain * fired_tn**1.5 / most)

    return Answer(rates, n, None, (127.0, 60.0))


def monkey(cells: Any) -> Answer:
    """Cells of simulation/monkey, which see pictures."""
    c = _wide(cells)

    def rates(video_thwc, behavior_tk):
        del behavior_tk
        seen_tp = (video_thwc.reshape(len(video_thwc), -1) - 120) / 50
        even, odd = seen_tp @ c.even_np.T, seen_tp @ c.odd_np.T
        both = (even**2 + odd**2) / 2
        share = c.complexity
        energy_tn = (1 - share) * jnp.maximum(even, 0) ** 2 + share * both
        pool_tqn = jnp.einsum("tp,qnp->tqn", seen_tp, c.pool_qnp) ** 2
        whole_tn = energy_tn / (4.0 + c.strength * pool_tqn.mean(1))
        return c.base + c.gain * (whole_tn + TINY) ** c.power

    return Answer(rates, len(cells.kind), 1, (120.0, 50.0))
