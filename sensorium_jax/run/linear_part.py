"""The linear model as a part of a twin: how much of its rates is mixed in.

Where spikes are rare, or recordings short, what a network learns of single trials is
less than what the linear model knows, which has seen them all. So a run may keep the
linear model of its recordings beside its own weights, and each validation says which
share of the rates of each mouse are the linear model's: none where that is as good.
Training does not look at it, and the score that ends a run is the network's alone.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import text
from sensorium_jax.asking import PLAIN, Asking
from sensorium_jax.data.stream.stream import Stream
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.run import Config, guided, linear as linears
from sensorium_jax.training.judging import Validation
from sensorium_jax.training.state import TrainState

MOST = 50_000_000  # weights of all mice in a checkpoint
PART = "linear"  # in 'info', and in the card


def plan_for(config: Config, stream: Stream, asking: Asking) -> Plan | None:
    """How the linear model of a run sees frames; None where none takes part."""
    if not config.model.linear:
        return None
    sessions = stream.recordings.sessions
    why = guided.unfit(config, stream, asking, most=MOST)
    if (asking.scale, asking.canvas) != (PLAIN.scale, PLAIN.canvas):
        why = "frames are shrunk"
    if why:
        print(f"note: {why}, so no linear model takes part", file=sys.stderr)
        return None
    return linears.passes.mice(sessions, linears.UNITS)[0].plan


def added(variables: Any, guide: guided.Guide) -> Any:
    """Variables that hold the linear models too, of which no share is taken yet."""
    mice = guide.weights.mean_md.shape[0]
    # Copied: a step gives the memory of its state to the next one.
    weights = jax.tree.map(jnp.copy, guide.weights)
    part = {**weights._asdict(), "share_m": np.zeros(mice, np.float32)}
    return {**variables, "info": {**variables["info"], PART: part}}


class Judge:
    """Validates, and keeps what the last validation said until it is asked."""

    def __init__(self, validate: Callable[[TrainState], Validation], write: Callable):
        """Hold the validation of a run, and where its numbers go."""
        self.validate, self.write = validate, write
        self.last: Validation | None = None

    def score(self, state: TrainState) -> float:
        """The network's score."""
        self.last = self.validate(state)
        return self.last.score

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Log, and with a linear part the score of both beside the network's."""
        if "score" in numbers and self.last and self.last.with_linear is not None:
            numbers = {**numbers, "score_with_linear": self.last.with_linear}
        self.write(step, numbers)

    def words(self, mice: Sequence[str]) -> str:
        """What the last validation chose, or nothing."""
        last = self.last
        if last is None or not any(last.shares):
            return ""
        names = text.short(mice)
        pairs = zip(mice, last.shares, strict=False)  # rows may only fill a mesh
        shares = (f"{names[m]} {s:.0%}" for m, s in pairs)
        change = f"from {last.score:.4f} to {last.with_linear:.4f}"
        return (
            f"the linear model gives a part of the rates ({', '.join(shares)}): it "
            f"brings the last validation {change}"
        )

    def settle(self, state: TrainState) -> TrainState:
        """The state with the shares that the last validation found."""
        if self.last is None or not self.last.shares:
            return state
        part = state.info[PART]
        share_m = np.asarray(self.last.shares, np.float32)
        share_m = jax.device_put(share_m, part["share_m"].sharding)
        info = {**state.info, PART: {**part, "share_m": share_m}}
        return state._replace(info=info)
