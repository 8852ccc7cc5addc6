"""Refuses recordings in which nothing that a model answers would count."""

from itertools import chain

import numpy as np

from sensorium_jax.data.session import RESPONSES, Session
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.data.stream.stream import Stream
from sensorium_jax.data.stream.windows import span
from sensorium_jax.errors import UserError


def check(stream: Stream, left_out: int, why: str) -> None:
    """Every mouse needs a trial with responses that reaches beyond `left_out` frames.

    Those are lost to the filters of the core, or not scored; else a run would go on to
    its end and learn nothing. `why` says so in words, with the option that decides.
    """
    needed = span(left_out + 1, stream.stride)
    for source, rows in zip(stream.sources, stream.rows, strict=True):
        session = source.session
        length = session.reader.length
        long = (row for row in map(int, rows) if length(row) >= needed)
        first = next(long, None)
        if first is None or stream.frames <= left_out:
            longest = max(length(int(row)) for row in rows)
            raise UserError(
                f"Nothing would count: {why}, so frame {needed} is the first that "
                f"counts, but the trials of {session.where} have at most {longest} "
                f"frames, the windows {stream.frames}. Change that, or take a model "
                "for such recordings (sensorium zoo list)."
            )
        if not any(labelled(session, row) for row in chain([first], long)):
            raise UserError(
                f"Every response of {session.where} in the tier asked for is hidden "
                "(zero). Choose a tier with responses: config.data.tier to train on, "
                "config.validate.tier to judge by."
            )
        if _silent(session):
            raise UserError(
                f"Every response of {session.where} in its training trials is zero: "
                "nothing can be learned from it. Leave this mouse out "
                "(config.data.mice), or write its responses anew."
            )


def _silent(session: Session) -> bool:
    """Whether no neuron ever answers, as the statistics of training trials have it."""
    stored = session.statistics[RESPONSES]
    return not any(np.nan_to_num(x).any() for x in (stored.mean, stored.std))
