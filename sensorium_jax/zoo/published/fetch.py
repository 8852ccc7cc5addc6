"""Published weights on this machine: downloaded once, converted, and kept."""

import hashlib
import sys
from pathlib import Path
from typing import Any

from sensorium_jax.checkpoints import card, layout, write
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io.cache import cache
from sensorium_jax.io.get import fetch_file
from sensorium_jax.zoo.published.sources import BASE, FILES, LICENSE, PAGE
from sensorium_jax.zoo.published.translate import Converted, convert_file


def fetch(name: str, *, base: str = BASE, **options: Any) -> Path:
    """The checkpoint folder of a published model, downloaded and converted if need be.

    `base` is the address of a mirror's folder; `options` go to fetch_file. The file is
    checked against its known length and sha256 whatever the server says.
    """
    if name not in FILES:
        raise unknown("published model", name, FILES, "See: sensorium zoo list.")
    folder = cache() / "zoo" / name
    if layout.card_path(folder).is_file():
        return folder
    file, url = FILES[name], f"{base.rstrip('/')}/{FILES[name].name}"
    print(f"{name}: weights from {PAGE} ({LICENSE})", file=sys.stderr)
    path = fetch_file(
        url,
        cache() / "downloads" / file.name,
        size=file.size,
        sha256=file.sha256,
        title=name,
        **options,
    )
    return keep(convert_file(path, name), path, folder, url=url, license=LICENSE)


def import_file(path: str | Path, model: str, out: str | Path) -> Path:
    """Convert a .pth that is already here; returns the checkpoint folder `out`."""
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty. Choose another folder, or delete it.")
    return keep(convert_file(path, model), Path(path), out)


def keep(found: Converted, path: Path, folder: Path, **source: Any) -> Path:
    """Save a converted model with a card that says what file it came from."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    mice = zip(found.mice, found.neurons, strict=True)
    about = card.model_card(
        found.model,
        found.inputs._asdict(),
        [{"name": name, "neurons": count} for name, count in mice],
        asking=found.asking,
        changes=found.changes,
        kind="published",
        source={"file": path.name, "sha256": digest, **source},
    )
    return write.save(folder, found.variables, about)
