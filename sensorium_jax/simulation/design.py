"""What each simulated mouse is shown: presets, tiers, repeats, who sees which type."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.rules import FILMS, PICTURES, TRAIN, Rules
from sensorium_jax.simulation.draws import generator
from sensorium_jax.simulation.stimuli.clip import MOVIE, PICTURE

# Live | final out-of-domain types of the five scored mice of the 2023 release.
ASSIGNED = (
    (("pink_noise",), ("gaussian_dots", "random_dots")),
    (("drifting_gabor",), ("random_dots", "natural_images")),
    (("gaussian_dots",), ("pink_noise", "natural_images")),
    (("random_dots",), ("gaussian_dots", "drifting_gabor")),
    (("natural_images",), ("pink_noise", "drifting_gabor")),
)
OWN, CALIBRATION = 100_000, 1_000_000  # numbers of clips that no test shows
TIERS = {  # what the competitions call the tiers
    FILMS: {
        "oracle": "oracle",
        "live_main": "live_test_main",
        "final_main": "final_test_main",
        "live_ood": "live_test_bonus",
        "final_ood": "final_test_bonus",
    },
    PICTURES: {
        "oracle": "validation",
        "live_main": "test",
        "final_main": "final_test",
    },
}


class Repeated(NamedTuple):
    """So many distinct clips, each shown so many times."""

    clips: int
    repeats: int


@dataclass(frozen=True)
class Preset:
    """How large a simulation is."""

    mice: int
    neurons: int
    train: int
    oracle: Repeated
    main: Repeated  # of the live tier, and again of the final tier
    ood: Repeated  # of each type
    calibration: int  # trials on which rates are calibrated, and again for ceilings
    frames: int = 300
    ood_frames: int = 300
    pad_to: int | None = None  # NaN tails as in the release; None writes bytes
    centered: bool = False
    types: bool = False  # cells of a few discrete groups, see cortex.types
    turned: bool = False  # those at an orientation of their own each
    truth: bool = True  # keep the true rates of every trial
    store: bool = False

    def resized(self, trials: int) -> "Preset":
        """About so many trials of each mouse, in the same proportions."""
        old = self.train + sum(count(r) for r in (self.oracle, self.main, self.main))
        old += 3 * count(self.ood)

        def scaled(r: Repeated) -> Repeated:
            wanted = count(r) * trials / old
            clips = max(min(r.clips, 1), round(wanted / max(r.repeats, 1)))
            return Repeated(
                clips, min(r.repeats, max(1, round(wanted / max(clips, 1))))
            )

        kept = [scaled(r) for r in (self.oracle, self.main, self.ood)]
        tests = count(kept[0]) + 2 * count(kept[1]) + 3 * count(kept[2])
        if trials <= tests:
            raise UserError(
                f"{trials} trials of each mouse are too few: {tests} would be tests. "
                f"Give at least {tests + 1}."
            )
        changed = {"train": trials - tests, "oracle": kept[0], "main": kept[1]}
        return Preset(**{**self.__dict__, **changed, "ood": kept[2]})


def count(r: Repeated) -> int:
    """Trials of a repeated set."""
    return r.clips * r.repeats


TINY = Preset(
    mice=2,
    neurons=24,
    train=16,
    oracle=Repeated(3, 4),
    main=Repeated(2, 2),
    ood=Repeated(2, 2),
    calibration=12,
    frames=100,
    ood_frames=90,
    pad_to=108,
)
DEMO = Preset(
    mice=3,
    neurons=200,
    train=120,
    oracle=Repeated(10, 8),
    main=Repeated(2, 4),
    ood=Repeated(4, 4),
    calibration=48,
)
BENCH = Preset(
    mice=10,
    neurons=8000,
    train=340,
    oracle=Repeated(6, 10),
    main=Repeated(6, 10),
    ood=Repeated(6, 10),
    calibration=24,
    truth=False,
    store=True,
)
TYPES = {"mice": 2, "neurons": 400, "centered": True, "types": True}
PRESETS = {
    "tiny": TINY,
    "demo": DEMO,
    "bench": BENCH,
    "centered": Preset(**{**DEMO.__dict__, "centered": True}),
    "types": Preset(**{**DEMO.__dict__, **TYPES}),
}
# A picture is cheap beside a movie: the same presets show more of them.
OF_PICTURES = {
    "tiny": (48, Repeated(8, 1), Repeated(4, 4), 200),
    "demo": (800, Repeated(100, 1), Repeated(40, 8), 400),
    "bench": (4500, Repeated(500, 1), Repeated(100, 10), 400),
}
OF_PICTURES |= dict.fromkeys(("centered", "types"), OF_PICTURES["demo"])


class Shown(NamedTuple):
    """One trial of the plan."""

    tier: str
    kind: str
    clip: int  # number of the clip within its kind
    repeat: int
    frames: int


def preset(name: str, rules: Rules) -> Preset:
    """The preset of a name for films or for pictures."""
    films = PRESETS[name]
    if rules.films:
        return films
    train, oracle, main, calibration = OF_PICTURES[name]
    changed = {"train": train, "oracle": oracle, "main": main, "ood": Repeated(0, 0)}
    more = {"calibration": calibration, "frames": 1, "pad_to": None}
    return Preset(**{**films.__dict__, **changed, **more})


def plan(p: Preset, rules: Rules, seed: int, mouse: int) -> list[Shown]:
    """The trials of one mouse in the order shown; all mice share the test clips."""
    kind, names = MOVIE if rules.films else PICTURE, TIERS[rules.kind]
    first = OWN * (mouse + 1)
    shown = [Shown(TRAIN, kind, first + i, 0, p.frames) for i in range(p.train)]
    movies = (("oracle", p.oracle), ("live_main", p.main), ("final_main", p.main))
    for set_number, (tier, repeated) in enumerate(movies):
        start = 1000 * set_number
        shown += _repeated(names[tier], kind, start, repeated, p.frames)
    if rules.films:
        live, final = ASSIGNED[mouse % len(ASSIGNED)]
        for tier, kinds in (("live_ood", live), ("final_ood", final)):
            for kind in kinds:
                shown += _repeated(names[tier], kind, 0, p.ood, p.ood_frames)
    order = generator(seed, "order", mouse).permutation(len(shown))
    return [shown[i] for i in order]


def _repeated(tier, kind, first, repeated, frames):
    return [
        Shown(tier, kind, first + i, r, frames)
        for i in range(repeated.clips)
        for r in range(repeated.repeats)
    ]


def mouse_name(p: Preset, rules: Rules, seed: int, mouse: int) -> str:
    """Folder name of one mouse in the release's pattern; the tail tells seeds apart."""
    use = ("name", int(rules.name), p.neurons, p.train)
    words = generator(seed, *use).integers(0, 2**32, 4)
    tail = "".join(f"{w:08x}" for w in np.asarray(words))
    if rules.films:
        return f"dynamic{90001 + mouse}-1-1-Video-{tail}"
    return f"static{90001 + mouse}-1-1-GrayImageNet-{tail}"
