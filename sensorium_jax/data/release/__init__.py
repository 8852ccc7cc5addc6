"""The official trees of 2022 and 2023: read, written, fetched."""
