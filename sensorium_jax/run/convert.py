"""The command `sensorium convert`."""

from sensorium_jax.data.store.build import convert as write_store
from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome


def convert(
    source: str,
    target: str,
    *,
    verify: bool = False,
    responses: str = "float32",
    threads: int = 4,
    rules: str | None = None,
    neurons: float = 1.0,
) -> Outcome:
    """Write recordings as a store, or finish one that was begun."""
    if "://" not in target:
        atomic.need_place(target, folder=True)
    done = write_store(
        source,
        target,
        verify=verify,
        responses=responses,
        threads=threads,
        rules=rules,
        neurons=neurons,
    )
    greys = sum(dtype == "uint8" for dtype in done.video_dtypes)
    lines = [
        f"{target}: {done.mice} mice, {done.trials} trials, "
        f"{done.stored_bytes / 1e9:.2f} GB"
        + ("" if done.written_groups else "; all was there already"),
        f"Video as uint8, without loss, for {greys} of {done.mice} mice.",
    ]
    if done.response_rounding is not None:
        worst = done.response_rounding
        lines.append(
            f"Responses as float16: largest error {worst['largest_error']:.3g}, "
            f"rms error {worst['relative_rms']:.2g} of the rms response."
        )
    if done.verified:
        lines.append("Verified: every checksum, and every array against its source.")
    lines.append("See LICENSE.txt in the store before you pass it on.")
    return Outcome(done._asdict(), "\n".join(lines))
