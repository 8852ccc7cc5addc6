"""What a recording was made for: what is shown, skipped, hidden, and judged by.

The releases of 2022 and 2023 follow their competitions. Own recordings carry rules of
their own in config.json: nothing is skipped and any labelled tier may validate.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sensorium_jax.errors import UserError, did_you_mean, unknown

PICTURES, FILMS = "pictures", "films"
KINDS = (PICTURES, FILMS)
TRAIN, UNUSED = "train", "none"
VAL = "val"  # stands for the tier that validates, whatever its name
USUAL = (VAL, "oracle", "validation", "valid", "dev")  # names of validation tiers


class Rules(NamedTuple):
    """What a competition, or whoever recorded, prescribes."""

    name: str  # "2022", "2023" or "own"
    kind: str  # PICTURES or FILMS; a picture is a film with one frame
    skip: int = 0  # leading frames of a trial that are neither submitted nor scored
    validation: tuple[str, ...] = ()  # tiers that may validate; () for any labelled
    hidden: tuple[str, ...] = ()  # tiers whose responses may hide behind zeros
    tiers: tuple[str, ...] = ()  # every tier there may be; () for any
    tracks: tuple[str, ...] = ()  # competitions that files may be written for

    @property
    def layout(self) -> str:
        """The release whose file layout such recordings have."""
        return RELEASE_OF[self.kind]

    @property
    def films(self) -> bool:
        """Whether trials have frames to skip, cut and join; pictures have one each."""
        return self.kind == FILMS

    def validating(self, tiers: Iterable[str]) -> str | None:
        """The tier that validates, of the tiers of all trials; None where none can.

        The first of `validation` that is there. Where anything may validate: the first
        of the usual names, else the tier of most trials besides training.
        """
        return next(iter(self.may_validate(tiers)), None)

    def may_validate(self, tiers: Iterable[str]) -> list[str]:
        """Every tier that may validate, of the tiers of all trials, preferred first."""
        every = [str(t) for t in tiers]
        if self.validation:
            return [name for name in self.validation if name in every]
        others = [t for t in every if t not in (TRAIN, UNUSED, *self.hidden)]
        usual = [name for name in USUAL if name in others]
        rest = [name for name in dict.fromkeys(others) if name not in usual]
        return [*usual, *sorted(rest, key=others.count, reverse=True)]

    def as_json(self) -> dict[str, Any]:
        """What config.json keeps; the rules of a release are kept by name alone."""
        base = _named(self.name, self.kind)
        plain: dict[str, Any] = {"name": self.name}
        if self.name == OWN:
            plain["kind"] = self.kind
        for key, value in self._asdict().items():
            if value != getattr(base, key):
                plain[key] = list(value) if isinstance(value, tuple) else value
        return plain

    def words(self) -> str:
        """The rules in words, for the end of a sentence."""
        skipped = f"the first {self.skip} frames of a trial are not scored"
        judged = f"{' or '.join(self.validation) or 'any labelled tier'} validates"
        first = skipped if self.skip else "no frame is skipped"
        return f"{self.kind}; {first}; {judged}"


def validating(mice: Iterable[tuple[Rules, Iterable[str]]]) -> str | None:
    """The one tier that validates in all mice, of the rules and tiers of each.

    Of those that may validate in every mouse it is the one that the first mouse's rules
    would choose among the trials of all; None where they share none.
    """
    each = [(rules, [str(t) for t in tiers]) for rules, tiers in mice]
    allowed = [rules.may_validate(tiers) for rules, tiers in each]
    shared = set(allowed[0]).intersection(*allowed[1:])
    pooled = [tier for _, tiers in each for tier in tiers if tier in shared]
    return each[0][0].validating(pooled)


RELEASES = {
    "2022": Rules(
        name="2022",
        kind=PICTURES,
        validation=("validation",),
        hidden=("test", "final_test"),
        tiers=(TRAIN, "validation", "test", "final_test", UNUSED),
        tracks=("sensorium", "sensorium+"),
    ),
    "2023": Rules(
        name="2023",
        kind=FILMS,
        skip=50,
        validation=("oracle",),
        hidden=(
            "live_test_main",
            "live_test_bonus",
            "final_test_main",
            "final_test_bonus",
        ),
        tiers=(
            TRAIN,
            "oracle",
            "live_test_main",
            "live_test_bonus",
            "final_test_main",
            "final_test_bonus",
            UNUSED,
        ),
        tracks=("main", "bonus"),
    ),
}
RELEASE_OF = {rules.kind: name for name, rules in RELEASES.items()}
FRAMES_PER_SECOND = {"2023": 30.0}  # of the releases that do not say so themselves
OWN = "own"
NAMES = (*RELEASES, OWN)
MOST_SKIP = 1_000_000  # frames
EXPECTED = (
    'Expected rules such as {"name": "own", "skip": 0, "validation": ["test"], '
    '"hidden": []} or {"name": "2023"}; they may also be deleted'
)


def own(kind: str, **given: Any) -> Rules:
    """Rules of an own recording: nothing skipped, any labelled tier validates."""
    return Rules(OWN, kind)._replace(**given)


def _named(name: str, kind: str) -> Rules:
    return RELEASES[name] if name in RELEASES else own(kind)


def of_kind(kind: str, name: str | None = None) -> Rules:
    """Rules by name for recordings of a kind; without a name those of its release."""
    if name is None:
        return RELEASES[RELEASE_OF[kind]]
    if name not in NAMES:
        raise unknown("rules", name, NAMES, "Give --rules.")
    rules = _named(name, kind)
    if rules.kind != kind:
        raise UserError(
            f"The rules of {name} are for {rules.kind}, the recordings are {kind}. "
            f"Give --rules {RELEASE_OF[kind]} or --rules {OWN}."
        )
    return rules


def from_json(plain: Any, kind: str, where: str) -> Rules:
    """Rules as config.json has them; kind is what the files show."""
    problem = wrong(plain, kind)
    if problem:
        raise UserError(f"{where}: {problem}. {EXPECTED}.")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
    return _named(plain.get("name", OWN), kind)._replace(**given)


def wrong(plain: Any, kind: str) -> str:
    """What is wrong with rules as config.json has them; nothing where all is well."""
    if not isinstance(plain, Mapping):
        return f"rules are {plain!r:.80}"
    for key in plain:
        if key not in Rules._fields:
            near = did_you_mean(key, Rules._fields).strip()
            return f"rules have the field {key!r:.60}. {near}".rstrip(" .")
    name, skip = plain.get("name", OWN), plain.get("skip", 0)
    if name not in NAMES:
        return f"rules have the name {name!r:.80}, known are {', '.join(NAMES)}"
    for meant in (plain.get("kind", kind), _named(name, kind).kind):
        if meant != kind:
            return f"rules are for {meant!r:.80}, the recordings are {kind}"
    if type(skip) is not int or not 0 <= skip < MOST_SKIP:
        return f"skip is {skip!r:.80}, not a number of frames"
    if skip and kind == PICTURES:
        return f"skip is {skip}, but a picture is one frame"
    return _wrong_tiers(plain)


def _wrong_tiers(plain: Mapping[str, Any]) -> str:
    for key in ("validation", "hidden", "tiers", "tracks"):
        names = plain.get(key, [])
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            return f"{key} is {names!r:.80}, not a list of names"
    tiers = plain.get("tiers", [])
    if tiers and TRAIN not in tiers:
        return f"tiers are {tiers}, without '{TRAIN}'"
    for key in ("validation", "hidden"):
        for name in plain.get(key, []):
            if name in (TRAIN, UNUSED):
                return f"{key} holds '{name}', which is for another use"
            if tiers and name not in tiers:
                return f"{key} holds '{name}', which is not among the tiers {tiers}"
    return ""
