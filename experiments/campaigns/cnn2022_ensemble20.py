"""The baseline of 2022 from twenty seeds, and their ensemble.

    sensorium launch experiments/campaigns/cnn2022_ensemble20.py --workdir runs/cnn \\
        --with data=data/2022.store --with track=sensorium --with mouse=26872
"""


def get_campaign(
    data="data/2022", recipe="cnn2022", seeds=20, track="sensorium", mouse=""
):
    """The stages: seeds, the ensemble's scores, and its submission.

    mouse is a part of the name of the one that is submitted, where data has several.
    """
    ensemble = ["--data", data, "--model", "{seeds*}"]
    return {
        "changes": {"data.root": data},
        "stages": {
            "seeds": {"recipe": recipe, "seeds": seeds},
            "score": {
                "command": ["score", *ensemble, "--no-linear", "--csv", "{here}/s.csv"]
            },
            "submit": {
                "command": [
                    *("submit", *ensemble, f"--track={track}", "--out={here}/out"),
                    *([f"--mouse={mouse}"] if mouse else []),
                ]
            },
        },
    }
