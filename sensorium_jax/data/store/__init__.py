"""Stores: recordings as sharded zarr, streamed from disk or a URL."""
