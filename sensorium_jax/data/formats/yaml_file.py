"""YAML from elsewhere, read as plain data: so long, so deep, and no merging of keys."""

from pathlib import Path
from typing import Any

from sensorium_jax.errors import UserError, need_extra
from sensorium_jax.io import plain_json, regular

SPARE = 10_000  # values, each counted as often as it is referred to
AGAIN = "Write it again, without references."


def read(path: Path, most: int, purpose: str, kind: str = "YAML") -> Any:
    """What a file of at most so many bytes says; purpose and kind are for errors."""
    try:
        import yaml
    except ImportError:
        raise need_extra("pyyaml", "formats", purpose) from None
    content = regular.content(path, most)
    # Merged keys multiply while they are read, before their number could be checked.
    if b"<<" in content:
        raise UserError(f"{path} merges keys (<<), which is not read. {AGAIN}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_depth(yaml.parse(content, Loader=loader), path)
        value = yaml.load(content, Loader=loader)  # a safe loader
    except UserError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        words = " ".join(str(error).split())[:160]
        raise UserError(f"{path} is no {kind} that can be read ({words}).") from None
    # Without references there are fewer values than bytes.
    plain_json.check_size(value, str(path), AGAIN, most=SPARE + 4 * len(content))
    return value


def _check_depth(events: Any, path: Path) -> None:
    """Refuse lists inside lists before they are built, which is done by recursion."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > plain_json.DEEPEST:
            raise UserError(f"{path} holds lists inside lists, too deep. {AGAIN}")
