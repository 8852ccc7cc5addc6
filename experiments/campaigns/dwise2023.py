"""The winner of 2023 whole: seven folds, two stages, and the submission of all.

Every second-stage run learns from the first-stage run of its fold. The submission is
the mean of all models: with as many of each stage, the mean of both stages' means. No
score stands beside it, since the trials that judge one fold have taught the others.

    sensorium launch experiments/campaigns/dwise2023.py --workdir runs/dwise \\
        --with data=data/2023.store --slurm partition=gpu gpus_per_node=1
"""


def get_campaign(
    data="data/2023", folds=7, fold_tests=False, tracks=("main", "bonus"), seeds=1
):
    """The stages; fold_tests learns from labelled test trials too, as the original."""
    each = {"axes": {"data.fold": list(range(folds))}, "seeds": seeds}
    teacher = {"train.teacher": "{first}"}
    models = ["--model", "{first*}", "{second*}"]
    return {
        "changes": {"data.root": data, "data.fold_tests": fold_tests},
        "stages": {
            "first": {"recipe": "dwise2023", **each},
            "second": {"recipe": "dwise2023_distill", "changes": teacher, **each},
            "submit": {
                "axes": {"track": list(tracks)},
                "command": [
                    *("submit", "--data", data, *models),
                    *("--track={track}", "--out={here}/out"),
                ],
            },
        },
    }
