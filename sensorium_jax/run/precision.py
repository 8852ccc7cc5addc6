"""Which precision suits a device."""

from typing import Any

FIRST = (8, 0)  # compute capability from which on cards have TF32 and bfloat16
FASTER = "several times faster in tf32 or bfloat16 (--config.train.precision=bfloat16)"
ONLY_FLOAT32 = "has neither tf32 nor bfloat16: leave config.train.precision at float32"


def advice(device: Any) -> str:
    """What to set for this device, in words; nothing where float32 is as fast."""
    if device.platform == "tpu":
        return f"{device.device_kind} is {FASTER}"
    capability = str(getattr(device, "compute_capability", ""))
    major, _, minor = capability.partition(".")
    if device.platform != "gpu" or not (major.isdigit() and minor.isdigit()):
        return ""
    fast = (int(major), int(minor)) >= FIRST
    return f"{device.device_kind} {f'is {FASTER}' if fast else ONLY_FLOAT32}"


def note(device: Any, precision: str) -> str:
    """What a run of that precision should be told, or nothing."""
    words = advice(device)
    fits = (precision == "float32") == (ONLY_FLOAT32 in words)
    return "" if fits else words
