"""The baselines of 2023: the GRU, the factorized model, and an ensemble of the latter.

How many seeds the published ensemble had is not known for sure; 14 is what we recall.

    sensorium launch experiments/campaigns/baselines2023.py --workdir runs/2023 \\
        --with data=data/2023.store --slurm partition=gpu gpus_per_node=1
"""


def get_campaign(data="data/2023", seeds=14, track="main", gru_seeds=1):
    """The stages: both baselines, then scores and a submission of the ensemble."""
    ensemble = ["--data", data, "--model", "{factorized*}"]
    return {
        "changes": {"data.root": data},
        "stages": {
            "gru": {"recipe": "gru2023", "seeds": gru_seeds},
            "factorized": {"recipe": "factorized2023", "seeds": seeds},
            "score": {
                "command": ["score", *ensemble, "--no-linear", "--csv", "{here}/s.csv"]
            },
            "submit": {
                "command": ["submit", *ensemble, f"--track={track}", "--out={here}/out"]
            },
        },
    }
