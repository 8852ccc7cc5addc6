"""What a recording was made for: what is shown, skipped, hidden, and judged by.

The releases of 2022 and 2023 follow their competitions. Own recordings carry rules of
their own in config.json: nothing is skipped and any labelled tier may validate.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sensorium_jax.errors import UserError, unknown

PICTURES, FILMS = "pictures", "films"
KINDS = (PICTURES, FILMS)
TRAIN, UNUSED = "train", "none"
VAL = "val"  # stands for the tier that validates, whatever its name
USUAL = ("oracle", "validation", "val", "valid", "dev")  # names of validation tiers


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

    def validating(self, tiers: Iterable[str]) -> str | None:
        """The tier that validates, of those that a recording has; None of none.

        The first of `validation` that is there. Where anything may validate: the first
        of the usual names, else the tier of most trials besides training.
        """
        every = [str(t) for t in tiers]
        for name in self.validation or USUAL:
            if name in every:
                return name
        others = [t for t in every if t not in (TRAIN, UNUSED, *self.hidden)]
        if self.validation or not others:
            return None
        return max(dict.fromkeys(others), key=others.count)

    def as_json(self) -> dict[str, Any]:
        """What config.json keeps; the rules of a release are kept by name alone."""
        if self == RELEASES.get(self.name):
            return {"name": self.name}
        plain = {k: v for k, v in self._asdict().items() if v}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    def words(self) -> str:
        """The rules as a sentence's end."""
        skipped = f"the first {self.skip} frames of a trial are not scored"
        judged = f"{' or '.join(self.validation) or 'any labelled tier'} validates"
        first = skipped if self.skip else "no frame is skipped"
        return f"{self.kind}; {first}; {judged}"


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
OWN = "own"
NAMES = (*RELEASES, OWN)


def own(kind: str, **given: Any) -> Rules:
    """Rules of an own recording: nothing skipped, any labelled tier validates."""
    return Rules(OWN, kind)._replace(**given)


def of_kind(kind: str, name: str | None = None) -> Rules:
    """Rules by name for recordings of a kind; without a name those of its release."""
    if name is None:
        return RELEASES[RELEASE_OF[kind]]
    if name == OWN:
        return own(kind)
    if name not in RELEASES:
        raise unknown("rules", name, NAMES, "Give --rules.")
    if RELEASES[name].kind != kind:
        raise UserError(
            f"The rules of {name} are for {RELEASES[name].kind}, the recordings are "
            f"{kind}. Give --rules {RELEASE_OF[kind]} or --rules {OWN}."
        )
    return RELEASES[name]


def from_json(plain: Any, kind: str, where: str) -> Rules:
    """Rules as config.json has them; kind is what the files show."""
    if not isinstance(plain, Mapping):
        raise _wrong(where, f"rules are {plain!r}")
    name = plain.get("name", OWN)
    if name in RELEASES and len(plain) == 1:
        return of_kind(kind, name)
    odd = [key for key in plain if key not in Rules._fields]
    if odd:
        raise _wrong(where, f"rules have the field '{odd[0]}'")
    skip = plain.get("skip", 0)
    if type(skip) is not int or skip < 0:
        raise _wrong(where, f"skip is {skip!r}")
    if not isinstance(name, str) or plain.get("kind", kind) != kind:
        raise _wrong(where, f"name is {name!r} and kind {plain.get('kind')!r}")
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("validation", "hidden", "tiers", "tracks"):
        values = plain.get(key, [])
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise _wrong(where, f"{key} is {values!r}")
        lists[key] = tuple(values)
    return Rules(name, kind, skip, **lists)


def _wrong(where: str, found: str) -> UserError:
    return UserError(
        f"{where}: {found}. Expected rules such as "
        '{"name": "own", "skip": 0, "validation": ["test"], "hidden": []} '
        f'or {{"name": "2023"}}; the rules may also be deleted.'
    )
