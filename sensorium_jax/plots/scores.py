"""Figures of scores: models beside their ceiling, by type of stimulus, by compute."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

Models = Mapping[str, Mapping[str, Any]]  # name: in_domain, out_of_domain, seconds


def models(found: Models) -> Figure:
    """Single-trial correlation of every model with its interval, and the ceiling."""
    figure = Figure(figsize=(1.6 + 0.9 * len(found), 3), layout="constrained")
    axis = figure.subplots()
    whole = [m["in_domain"] for m in found.values()]
    heights = np.array([w["single_trial"] for w in whole])
    ends = np.array([w["single_trial_interval"] for w in whole]).T
    error = np.abs(ends - heights[None])
    axis.bar(range(len(found)), heights, yerr=error, color="0.6", capsize=3)
    ceilings = [w["ceiling"] for w in whole if w["ceiling"] is not None]
    if ceilings:
        words = {"truth": "true rates", "repeats": "repeats"}
        label = f"ceiling from {words[whole[0]['ceiling_from']]}"
        axis.axhline(float(np.mean(ceilings)), color="k", ls="--", lw=1, label=label)
        axis.legend(frameon=False, fontsize=8)
    axis.set_xticks(range(len(found)), found, rotation=30, ha="right")
    axis.set_ylabel("single-trial correlation")
    axis.axhline(0, color="k", lw=0.5)
    return figure


def kinds(found: Models) -> Figure:
    """Fraction of the ceiling by type of stimulus, a line per model."""
    names = sorted({k for m in found.values() for k in m["out_of_domain"]})
    figure = Figure(figsize=(2.5 + 0.8 * len(names), 3), layout="constrained")
    axis = figure.subplots()
    for name, model in found.items():
        parts = [model["in_domain"], *(model["out_of_domain"].get(k) for k in names)]
        values = [
            np.nan
            if p is None or p["fraction_of_ceiling"] is None
            else p["fraction_of_ceiling"]
            for p in parts
        ]
        axis.plot(range(len(parts)), values, "o-", ms=4, lw=1, label=name)
    ticks = ["in domain", *(n.replace("_", " ") for n in names)]
    axis.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right")
    axis.set_ylabel("fraction of the ceiling")
    axis.legend(frameon=False, fontsize=8)
    return figure


def compute(found: Models) -> Figure:
    """What a model scores against the seconds its training steps took."""
    figure = Figure(figsize=(4, 3), layout="constrained")
    axis = figure.subplots()
    known = {n: m for n, m in found.items() if m.get("seconds")}
    for name, model in known.items():
        at = (model["seconds"], model["in_domain"]["single_trial"])
        axis.plot(*at, "o", color="k", ms=4)
        axis.annotate(name, at, xytext=(4, 3), textcoords="offset points", fontsize=8)
    if known:
        axis.set_xscale("log")
    axis.set_xlabel("seconds of training steps")
    axis.set_ylabel("single-trial correlation")
    return figure
