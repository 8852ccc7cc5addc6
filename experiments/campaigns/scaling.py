"""What more mice, more neurons, more trials and a wider core are worth.

Each axis is varied alone, around a model of all mice, neurons and trials, which is the
largest point of each. Fewer trials and neurons are a part of more of them. Runs of
fewer mice or neurons are judged on those alone: the .csv of the judging has a row for
each mouse.

    sensorium launch experiments/campaigns/scaling.py --workdir runs/scaling
    sensorium runs runs/scaling --along trials --figure trials.svg
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
    stages = {
        name: {"recipe": recipe, "axes": varied, "seeds": seeds}
        for name, varied in axes.items()
    }
    few = [share for share in shares if share < 1]
    if few:
        words = ["convert", data, "{here}/few.store", "--neurons={share}"]
        stages["few"] = {"command": words, "axes": {"share": few}}
        stages["neurons"] = {
            **{"recipe": recipe, "each": "few", "seeds": seeds},
            "changes": {"data.root": "{few}/few.store"},
        }
    for name in [name for name in stages if name != "few"]:
        stages[f"judge_{name}"] = {
            "each": name,
            "command": ["runs", f"{{{name}}}", "--score", "--csv", "{here}/s.csv"],
        }
    return {"changes": {"data.root": data}, "stages": stages}
