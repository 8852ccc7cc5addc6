"""`sensorium screen`: frames of recordings, or pictures, that drive neurons most."""

from sensorium_jax.insilico.ranking import beside as put_beside, screen as ask
from sensorium_jax.insilico.record import Result
from sensorium_jax.run import Outcome
from sensorium_jax.run.insilico.asked import Asked, earlier, numbers, resumed, subject
from sensorium_jax.run.insilico.shown import clips

BLOCK = 2048  # neurons; everything is shown once for each block
KEPT = 500e6  # bytes of pictures that are kept without being asked for


def screen(
    asked: Asked,
    *,
    data: str,
    tier: str | None = None,
    top: int = 5,
    apart: int | None = None,
    by: str = "frame",
    pictures: int | None = None,
    beside: str | None = None,
) -> Outcome:
    """Rank frames of a tree or store, of one tier or all, or of a folder of pictures.

    The number of a clip is its trial's, or that of the picture in order. apart is in
    frames; usually half a second, so that one scene counts once. by ranks "frame" or
    "clip". The best and worst `pictures` are kept, one of each unless they are many;
    beside names an earlier mei, whose stimuli stand beside them.
    """
    one = subject(asked)
    usual = round(one.fps / 2) if one.fps else 1
    apart = usual if apart is None else apart
    count = len(numbers(asked.neurons, one.neurons))
    h, w, c = one.frame
    if pictures is None:
        pictures = int(8 * count * h * w * c <= KEPT)
    known = earlier(beside, "mei") if beside else None
    options = {"data": str(data), "tier": tier, "top": top, "apart": apart}
    options |= {"by": by, "pictures": pictures, "beside": beside}

    def some(neurons: list[int]) -> Result:
        found = ask(
            one,
            clips(one, data, tier),
            neurons,
            top=top,
            apart=apart,
            whole=by == "clip",
            pictures=pictures,
        )
        return found if known is None else put_beside(found, known)

    return resumed("screen", asked, one, options, some, block=BLOCK)
