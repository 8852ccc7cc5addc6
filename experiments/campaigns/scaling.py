"""What more mice, more trials and a wider core are worth.

Each axis is varied alone, around a model of all mice and all trials. Runs of fewer mice
score those mice only: compare the rows of one mouse, which the judging writes.

    sensorium launch experiments/campaigns/scaling.py --workdir runs/scaling
"""

import sensorium_jax as sj


def get_campaign(
    data="data/demo",
    recipe="demo",
    shares=(0.1, 0.3, 1.0),
    widths=(0.5, 1, 2),
    channels=(16, 16),
    seeds=1,
):
    """The stages; channels are those of the recipe's core, which widths multiply."""
    names = sj.open(data).names
    counts = [n for n in (1, 2, 4, 8, 16) if n < len(names)] + [len(names)]
    wide = [[max(1, int(w * c)) for c in channels] for w in widths]
    cores = [{"core": {"channels": each}} for each in wide]
    axes = {
        "mice": {"data.mice": [names[:n] for n in counts]},
        "trials": {"data.trials": list(shares)},
        "width": {"model.json": cores},
    }
    stages = {}
    for name, varied in axes.items():
        stages[name] = {"recipe": recipe, "axes": varied, "seeds": seeds}
        words = ["score", "--data", data, "--workdir", f"{{{name}}}", "--no-linear"]
        stages[f"judge_{name}"] = {
            "each": name,
            "command": [*words, "--csv", "{here}/s.csv"],
        }
    return {"changes": {"data.root": data}, "stages": stages}
