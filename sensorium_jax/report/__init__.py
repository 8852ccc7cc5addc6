"""Pages of runs: one self-contained HTML file each, which needs no network."""
