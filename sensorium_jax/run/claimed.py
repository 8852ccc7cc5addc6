"""What a folder of results is for: noted once, so that only its own request goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, plain_json


def claim(path: Path, request: Mapping[str, Any], what: str) -> None:
    """Note the request in a file of the folder; refuse a folder of another one.

    what: the words between 'the folder holds' and the names of what differs.
    """
    folder, another = path.parent, "choose another --out."
    plain = json.loads(json.dumps(request, default=float))
    if path.is_file():
        old = plain_json.load(path, f"Delete the folder, or {another}")
        odd = [k for k in plain if not isinstance(old, dict) or old.get(k) != plain[k]]
        if odd:
            raise UserError(
                f"{folder} holds {what} {', '.join(odd)}. Repeat its command to "
                f"continue it, or {another}"
            )
    elif folder.is_dir() and any(p.name[0] != "." for p in folder.iterdir()):
        raise UserError(f"{folder} holds other files. Choose another --out.")
    atomic.write_json(path, plain)
