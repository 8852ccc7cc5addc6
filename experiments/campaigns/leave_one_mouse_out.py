"""The curve of a new mouse: how good a model of it is after how many of its trials.

A core is trained on all mice but one. The one left out then gets a readout on that
core, held fixed, from a part of its training trials. Beside it stands a model that was
trained on the same trials alone. Every mouse is left out once.

    sensorium launch experiments/campaigns/leave_one_mouse_out.py --workdir runs/new
    sensorium runs runs/new/transfer runs/new/alone --sort trials
"""

import sensorium_jax as sj


def get_campaign(
    data="data/demo", recipe="demo", shares=(0.01, 0.05, 0.2, 1.0), mice=(), seeds=1
):
    """The stages; mice are those that are left out, all where empty."""
    names = sj.open(data).names
    mice = tuple(mice) or names
    others = {m: {"data.mice": tuple(n for n in names if n != m)} for m in mice}
    alone = {m: {"data.mice": (m,)} for m in mice}
    axes = {"data.trials": list(shares)}
    frozen = {"model.start": "{others}", "train.frozen": "(core|gru)/.*"}
    new = {"recipe": recipe, "folds": alone, "axes": axes, "seeds": seeds}
    judge = ["--score", "--csv", "{here}/s.csv"]
    return {
        "changes": {"data.root": data},
        "stages": {
            "others": {"recipe": recipe, "folds": others, "seeds": seeds},
            "transfer": {**new, "changes": frozen},
            "alone": new,
            "judge_transfer": {
                "each": "transfer",
                "command": ["runs", "{transfer}", *judge],
            },
            "judge_alone": {"each": "alone", "command": ["runs", "{alone}", *judge]},
        },
    }
