"""What a recording says of itself: its rules, frames per second, degrees per pixel.

A tree says it in the config.json of each mouse, a store in the header of each mouse.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sensorium_jax import rules as every
from sensorium_jax.errors import UserError
from sensorium_jax.io import plain_json
from sensorium_jax.io.names import is_inside
from sensorium_jax.rules import Rules

FILE = "config.json"
LINKS, RULES = "links", "rules"
FRAMES_PER_SECOND, DEGREES_PER_PIXEL = "frames_per_second", "degrees_per_pixel"
CHANGED = "changed"  # what the writer did to the values: gaps filled, negatives
MOST = 4 << 20  # bytes
LARGEST = 1e12  # of frames per second and the like
DELETE = "the file may also be deleted"


class Told(NamedTuple):
    """What a recording says of itself."""

    rules: Rules
    assumed: bool  # it names no rules, so those of the release of its layout hold
    links: Mapping[str, str]  # modality -> the folder of data/ that it lies in
    frames_per_second: float | None
    degrees_per_pixel: float | None


def load(folder: Path) -> Any:
    """What config.json holds, whatever it is; nothing where there is none."""
    path = folder / FILE
    remedy = f'Expected JSON such as {{"{LINKS}": {{}}}}; {DELETE}.'
    try:
        return plain_json.load(path, remedy, most=MOST)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}). {remedy}") from None


def keeps_negative(folder: Path) -> bool:
    """Whether negative responses were stored on purpose, as far as is told."""
    try:
        changed = load(folder)[CHANGED]
        return changed["responses"]["negative"] == "keep"
    except (UserError, KeyError, TypeError):
        return False


def of_folder(folder: Path, kind: str, chosen: str | None = None) -> Told:
    """What the mouse in a folder says; chosen names rules to take instead of its own.

    kind is what its files show, pictures or films.
    """
    return told(load(folder), kind, str(folder / FILE), chosen)


def told(config: Any, kind: str, where: str, chosen: str | None = None) -> Told:
    """The same of what was read already."""
    problem = wrong(config, kind, chosen)
    if problem:
        raise UserError(f"{where}: {problem[0]}. {problem[1]}.")
    if chosen is None and RULES in config:
        rules = every.from_json(config[RULES], kind, where)
    else:
        rules = every.of_kind(kind, chosen)
    usual = every.FRAMES_PER_SECOND.get(rules.name)
    return Told(
        rules,
        chosen is None and RULES not in config,
        config.get(LINKS, {}),
        _size(config, FRAMES_PER_SECOND) or usual,
        _size(config, DEGREES_PER_PIXEL),
    )


def to_json(
    rules: Rules,
    where: str,
    frames_per_second: float | None = None,
    degrees_per_pixel: float | None = None,
) -> dict[str, Any]:
    """What config.json is to hold; a size that cannot be is an error."""
    sizes = {
        FRAMES_PER_SECOND: frames_per_second,
        DEGREES_PER_PIXEL: degrees_per_pixel,
    }
    known = {k: v for k, v in sizes.items() if v is not None}
    config = {LINKS: {}, RULES: rules.as_json(), **known}
    told(config, rules.kind, where)
    return config


def _size(config: Mapping[str, Any], key: str) -> float | None:
    value = config.get(key)
    return None if value is None else float(value)


def wrong(config: Any, kind: str, chosen: str | None = None) -> tuple[str, str] | None:
    """What is wrong with a config, and what was expected; None where all is well."""
    if not isinstance(config, Mapping):
        return f"{config!r:.120} is not a JSON object", f"Expected one; {DELETE}"
    links = config.get(LINKS, {})
    if not isinstance(links, Mapping) or not all(map(is_inside, links.values())):
        known = f'Expected such as {{"{LINKS}": {{}}}}, each a folder inside data/'
        return f"links are {links!r:.120}", f"{known}; {DELETE}"
    for key in (FRAMES_PER_SECOND, DEGREES_PER_PIXEL):
        value = config.get(key)
        if value is not None and not _is_size(value):
            known = "Expected a number above 0, or no such entry"
            return f"{key} is {value!r:.60}", known
    problem = every.wrong(config[RULES], kind) if RULES in config and not chosen else ""
    return (problem, every.EXPECTED) if problem else None


def _is_size(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared before it becomes a float, which the largest integers cannot.
    return number and 0 < value < LARGEST and math.isfinite(value)


def note(path: str, said: Iterable[Told]) -> None:
    """Say on standard error which rules are assumed, once for each path and rules."""
    for rules in dict.fromkeys(t.rules for t in said if t.assumed):
        _say(
            f"{path} names no rules of its own, so those of SENSORIUM {rules.name} "
            f"hold: {rules.words()}. For your own recordings give --rules own (no "
            "frame is skipped, any labelled tier validates), or write "
            f'"{RULES}": {{"name": "own"}} into the {FILE} of each mouse.'
        )


@cache
def _say(words: str) -> None:
    print(f"note: {words}", file=sys.stderr)
