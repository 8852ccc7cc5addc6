"""The objective of the original most discriminative stimuli, and its golden cases."""

from typing import NamedTuple

import numpy as np

REPOSITORY = "ecker-lab/most-discriminative-stimuli"


class Case(NamedTuple):
    """A random linear model with rectified rates, and one stimulus of a cluster."""

    filters_np: np.ndarray
    stimulus_p: np.ndarray
    labels_n: np.ndarray
    own: int
    temperature: float
    offset_n: np.ndarray | None
    spread_n: np.ndarray | None


def cases() -> list[Case]:
    """With and without normalization, one of whose spreads is below the least."""
    out = []
    for seed, (clusters, scaled) in enumerate([(2, False), (5, False), (4, True)]):
        rng = np.random.default_rng(seed)
        n, p = 24, 30
        labels = rng.permutation(np.arange(n) % clusters)
        spread = rng.uniform(0.02, 2.0, n).astype(np.float32)
        case = Case(
            rng.normal(size=(n, p)).astype(np.float32),
            rng.normal(size=p).astype(np.float32),
            labels,
            int(rng.integers(clusters)),
            (1.0, 1.6, 0.7)[seed],
            rng.normal(size=n).astype(np.float32) if scaled else None,
            spread if scaled else None,
        )
        out.append(case)
    return out


def original(case: Case) -> tuple[float, np.ndarray]:
    """Objective and its gradient in the stimulus, by the original."""
    import torch
    from controversialstimuli.optimization.controversial_objectives import (
        ContrastiveNeuronUnif,
    )

    others = sorted(set(case.labels_n.tolist()) - {case.own})
    objective = ContrastiveNeuronUnif(
        case.own,
        others,
        case.labels_n.tolist(),
        temperature=case.temperature,
        subt_pred=case.offset_n,
        div_pred=case.spread_n,
        device="cpu",
    )
    x = torch.tensor(case.stimulus_p, requires_grad=True)
    rates = torch.nn.functional.softplus(torch.tensor(case.filters_np) @ x)
    value = objective(rates[None])
    value.backward()
    return float(value.detach()), x.grad.numpy()
