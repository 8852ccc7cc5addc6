"""One name table per published checkpoint family."""
