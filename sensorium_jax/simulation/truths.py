"""The truth of any simulated tree as a twin, whichever world it is of."""

from pathlib import Path
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.io import plain_json
from sensorium_jax.rules import FILMS
from sensorium_jax.simulation.cortex import rates, truth
from sensorium_jax.simulation.draws import generator
from sensorium_jax.simulation.worlds.answers import Truths
from sensorium_jax.simulation.worlds.presets import WORLDS
from sensorium_jax.simulation.worlds.record import name_of
from sensorium_jax.simulation.write import NOTE


def load(path: str | Path) -> Any:
    """The true cells of a tree, or of one of the cortex's mice."""
    note = Path(path).expanduser() / NOTE
    world = _noted(note) if note.is_file() else {}
    return _world(world) if "world" in world else rates.load(path)


def simulated(path: str | Path) -> bool:
    """Whether a path is a tree whose truth is known."""
    place = Path(path).expanduser()
    if not place.is_dir():
        return False
    note = place / NOTE
    return bool(truth.mice(place)) or (note.is_file() and "world" in _noted(note))


def _noted(note: Path) -> dict[str, Any]:
    words = plain_json.load(note, "Simulate it again into another folder.")
    return words if isinstance(words, dict) else {}


def _world(noted: dict[str, Any]) -> Truths:
    name, seed = str(noted["world"]), noted.get("seed")
    if name not in WORLDS or not isinstance(seed, int):
        raise UserError(
            f"The tree is of the world '{name}', seed {seed}, which is not known here. "
            f"Known: {', '.join(WORLDS)}. Simulate it again."
        )
    world = WORLDS[name]
    mice = range(world.mice)
    signals = 0
    if world.behave is not None:
        signals = world.behave(generator(0, "any"), 1)[0].shape[1]
    made = [world.population(seed, m).answer for m in mice]
    return Truths(
        mice=tuple(name_of(name, seed, m) for m in mice),
        frame_shape=world.frame_shape,
        hertz=world.hertz if world.kind == FILMS else None,
        behaviors=signals,
        answers=tuple(answer() for answer in made if answer is not None),
    )
