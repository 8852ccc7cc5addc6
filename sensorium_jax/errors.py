"""Errors that say what was found, what was expected and what to do next."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input that the user can mend; the command line prints it and exits 1."""


class UsageError(UserError):
    """A command or call that contradicts itself; the command line exits 2."""


class DiskError(UserError):
    """The disk refused a write. What background threads say afterwards is no news."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question ending in a space, or nothing when no known word is near."""
    near = difflib.get_close_matches(str(word), [str(k) for k in known], n=1)
    return f"Did you mean '{near[0]}'? " if near else ""


def unknown(kind: str, word: str, known: Iterable[str], remedy: str = "") -> UserError:
    """The error for a name that is not in a closed list."""
    names = sorted(str(k) for k in known)
    return UserError(
        f"Unknown {kind} '{word}'. {did_you_mean(word, names)}"
        f"Known: {', '.join(names) or 'none'}. {remedy}".strip()
    )


def need_extra(package: str, extra: str, purpose: str) -> UserError:
    """The error for an optional package that is not installed."""
    return UserError(
        f"{purpose} needs the package '{package}', which is not installed. "
        f"Install it with: pip install 'sensorium-jax[{extra}]'"
    )
