"""Files and bytes: written whole or not at all, fetched, unpacked, never trusted."""
