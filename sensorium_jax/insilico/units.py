"""Sizes and frequencies as people give them: pixels or degrees, per second or frame."""

import re
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.insilico.subjects import Subject

NUMBER = r"\s*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([a-zA-Z]*)\s*"


def pixels(value: Any, subject: Subject) -> float:
    """A length in pixels of the stimulus, from a number, '10px' or '8deg'."""
    number, unit = _split(value, ("px", "deg"), "px")
    return number if unit == "px" else number / _degrees(subject, value)


def per_pixel(value: Any, subject: Subject) -> float:
    """Cycles per pixel, from a number, '0.1cpp' or '0.04cpd'."""
    number, unit = _split(value, ("cpp", "cpd"), "cpp")
    return number if unit == "cpp" else number * _degrees(subject, value)


def hertz(value: Any, subject: Subject) -> float:
    """Cycles per second, from a number, '2Hz' or '0.1cpf' (cycles per frame)."""
    number, unit = _split(value, ("Hz", "cpf"), "Hz")
    if number and subject.fps is None:
        raise UserError(
            f"{value} was given, but how many frames the twin sees in a second is not "
            "known. Say it with fps (--fps), or show what stands still."
        )
    return number if unit == "Hz" or not number else number * float(subject.fps or 0)


def _split(value: Any, known: tuple[str, ...], usual: str) -> tuple[float, str]:
    match = re.fullmatch(NUMBER, str(value))
    names = {name.lower(): name for name in ("", *known)}
    if not match or match[2].lower() not in names:
        raise UserError(
            f"{value!r} is no size: expected a number, with {' or '.join(known)} "
            f"behind it; without, it is {usual}."
        )
    return float(match[1]), names[match[2].lower()] or usual


def _degrees(subject: Subject, value: Any) -> float:
    if subject.degrees is None:
        raise UserError(
            f"{value} is in degrees, but how many a pixel covers is not known of this "
            "twin. Give degrees per pixel (--degrees-per-pixel), or use px and cpp."
        )
    return subject.degrees
