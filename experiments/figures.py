"""Draws the pictures of docs/images anew: `make figures`, some minutes of two cores.

    python experiments/figures.py                       # all of them
    python experiments/figures.py simulated-maps --out /tmp

Movies that are read back have a script of their own, reading_back.py. The recordings
are simulated once, into --data, and found there the next time.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

import sensorium_jax as sj
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import VIDEO, Session
from sensorium_jax.plots import simulated as plots
from sensorium_jax.simulation.cortex import truth
from sensorium_jax.simulation.cortex.neurons import NAMES
from sensorium_jax.simulation.cortex.rates import Truth
from sensorium_jax.simulation.stimuli.clip import KINDS

IMAGES = Path(__file__).parents[1] / "docs/images"
SHOWN = 60  # neurons of the picture of a trial
DPI = 110


class Simulated(NamedTuple):
    """What the pictures are drawn from."""

    recordings: Recordings
    truth: Truth


def stimuli(of: Simulated) -> Figure:
    """A clip of every type, from whichever mouse saw it."""
    clips = {}
    for session in of.recordings.sessions:
        kinds = _kinds(session)
        for row, number in enumerate(session.files.tolist()):
            if kinds[number] not in clips:
                clips[kinds[number]] = session.read(VIDEO, row)[..., 0]
    return plots.movie_strips({kind: clips[kind] for kind in KINDS if kind in clips})


def _kinds(session: Session) -> list[str]:
    """The type of stimulus of every trial, by number of file."""
    with np.load(Path(session.where) / truth.FOLDER / "trials.npz") as file:
        return file["stimulus"].tolist()


def fields(of: Simulated) -> Figure:
    """Filters of the first cell of every type."""
    cells, w = of.truth.neurons[0], of.truth.weights[0]
    first = [int(np.flatnonzero(cells.kind == kind)[0]) for kind in NAMES]
    height, width, _ = of.truth.frame_shape
    both = [np.asarray(f)[first] for f in (w.filters.even_np, w.filters.odd_np)]
    even_nhw, odd_nhw = (f.reshape(-1, height, width) for f in both)
    return plots.fields(even_nhw, odd_nhw, NAMES)


def maps(of: Simulated) -> Figure:
    """Where the cells of one mouse lie, and where they look."""
    cells = of.truth.neurons[0]
    return plots.maps(cells.coordinates_n3, cells.center_n2, cells.kind)


def trial(of: Simulated) -> Figure:
    """One trial of the tier that validates."""
    session = of.recordings[0]
    shown = session.trial(int(session.trials_of("oracle")[0]))
    signals = shown.behavior_tk[None], shown.pupil_t2[None]
    rates_btn = of.truth.respond(shown.video_thwc[None], *signals, mouse=session.name)
    dilation_t, running_t = shown.behavior_tk.T
    rates_tn, responses_tn = np.asarray(rates_btn[0]), shown.responses_tn
    some = slice(0, SHOWN)
    return plots.trial(rates_tn[:, some], responses_tn[:, some], dilation_t, running_t)


def ceilings(of: Simulated) -> Figure:
    """Of the cells of all mice."""
    aimed = [cells.ceiling_target for cells in of.truth.neurons]
    folders = [Path(s.where) / truth.FOLDER for s in of.recordings.sessions]
    measured = [np.load(folder / "ceilings.npy") for folder in folders]
    return plots.ceilings(np.concatenate(aimed), np.concatenate(measured))


FIGURES: dict[str, Callable[[Simulated], Figure]] = {
    "simulated-stimuli": stimuli,
    "simulated-fields": fields,
    "simulated-maps": maps,
    "simulated-trial": trial,
    "simulated-ceilings": ceilings,
}


def main() -> None:
    """Simulate where nothing is yet, and draw."""
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    words.add_argument("--data", default="data/figures", help="of the simulation")
    words.add_argument("--out", default=IMAGES, type=Path, help="where pictures go")
    flags = words.parse_args()
    odd = set(flags.names) - set(FIGURES)
    if odd:
        words.error(f"{', '.join(sorted(odd))}: expected {', '.join(FIGURES)}")
    of = Simulated(sj.simulate(flags.data, preset="demo"), sj.truth(flags.data))
    for name in flags.names or FIGURES:
        place = flags.out / f"{name}.png"
        # Without the version of matplotlib, equal pictures are equal files.
        FIGURES[name](of).savefig(place, dpi=DPI, metadata={"Software": None})
        print(place)


if __name__ == "__main__":
    main()
