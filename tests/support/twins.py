"""Twins without a network, which answer from what they know of the recordings."""

import numpy as np

from sensorium_jax.data import statistics


class Guess:
    """A twin that knows mean rates, and something of the film; loses 9 frames."""

    def __init__(self, recordings, lost=9, *, raw_units=False):
        self.recordings, self.lost, self.raw_units = recordings, lost, raw_units

    def respond(self, video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b=0):
        session = self.recordings[mouse]
        drive = np.asarray(video_bthwc, float)[:, self.lost :, 0, :3, 0].mean(2) / 128
        phase_n = np.arange(session.neurons)
        rates_n = statistics.mean_rates(session)
        if self.raw_units:
            rates_n = rates_n / statistics.precision(session).mean(0)
        wave = np.exp(0.5 * np.sin(drive[..., None] * 3 + phase_n))
        return (rates_n * wave).astype(np.float32)


class Told:
    """Answers films it has seen in a recording with rates from a function.

    rates(session, row) gives [t, n] in raw units; every clip is known by its video and
    behavior together, as repeats of a clip differ in behavior.
    """

    def __init__(self, recordings, rates, *, lost=10):
        self.mice, self.lost, self.known = recordings.names, lost, {}
        for session in recordings.sessions:
            precision_tn = statistics.precision(session)
            for row in np.flatnonzero(session.tiers != "none").tolist():
                key = self._key(session.name, session.read("behavior", row))
                x_tn = rates(session, row)
                self.known[key] = x_tn * precision_tn[: len(x_tn)]

    @staticmethod
    def _key(mouse, behavior_tk):
        return mouse, np.ascontiguousarray(behavior_tk[:60], np.float32).tobytes()

    def respond(self, video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b=0):
        """Rates [B, T', N]; the last frame is repeated where the clip is longer."""
        frames, made = behavior_btk.shape[1], []
        for behavior_tk in behavior_btk:
            x_tn = self.known[self._key(mouse, behavior_tk)]
            more = max(frames - len(x_tn), 0)
            x_tn = np.concatenate([x_tn, np.repeat(x_tn[-1:], more, 0)])
            made.append(x_tn[self.lost : frames])
        return np.stack(made)
