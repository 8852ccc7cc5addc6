"""Record what sinzlab/mei and sinzlab/insilico-stimuli make of some small cases.

Run with torch and scipy installed and $SENSORIUM_PEERS naming the folder of the
originals:
    python tests/golden/make_insilico.py
Both were written for CUDA and an older torch and scipy: Tensor.cuda becomes the
identity, torch.rfft and irfft, which are gone, are put back, and so is signal.gaussian.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from scipy import signal

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support.originals import peers  # noqa: E402

H, W = 18, 24
STEPS, RATE, UNIT = 12, 0.5, 0.2
LOW, HIGH = -0.6, 0.7


def old_names():
    """What the originals call and newer packages have no more."""
    torch.Tensor.cuda = lambda self, *_, **__: self
    signal.gaussian = signal.windows.gaussian

    def rfft(x, signal_ndim):
        return torch.view_as_real(torch.fft.rfftn(x, dim=(-2, -1)))

    def irfft(x, signal_ndim, signal_sizes):
        return torch.fft.irfftn(torch.view_as_complex(x), s=signal_sizes, dim=(-2, -1))

    torch.rfft, torch.irfft = rfft, irfft


def stimuli():
    """Pictures [H, W] by their kind, whose numbers the test repeats."""
    from insilico_stimuli.stimuli import (
        Bar,
        CenterSurround,
        DiffOfGaussians,
        Gabor,
        PlaidsGabor,
        PlaidsGrating,
    )

    canvas, one = (H, W), lambda v: torch.tensor([float(v)])
    gabor = {"center": [1.5, -2.0], "theta": 0.6, "sigma": 4.0, "Lambda": 9.0}
    gabor |= {"psi": 0.4, "gamma": 0.7}
    rings = {
        "size_total": 8.0,
        "size_center": 0.4,
        "size_surround": 0.6,
        "contrast_center": 0.9,
        "contrast_surround": 0.5,
        "orientation_center": 0.3,
        "orientation_surround": 1.1,
        "spatial_frequency_center": 0.1,
        "spatial_frequency_surround": 0.1,
        "phase_center": 0.2,
        "phase_surround": 0.2,
        "grey_level": 0.0,
    }
    # The class of bars wraps every number once too often and cannot be called.
    bar = Bar.bar(
        canvas,
        torch.tensor([6.0, 9.0]),
        *map(one, (8, 3, 0.7, 0.5, 0.0)),
        [-1, 1],
    )
    plaid = PlaidsGrating(
        canvas,
        location=[8.0, 11.0],
        size_total=5.0,
        contrast_preferred=0.3,
        contrast_overlap=0.6,
        spatial_frequency=0.1,
        orientation=0.2,
        phase=0.0,
        grey_level=0.0,
        angle=1.0,
    )
    spot = DiffOfGaussians(
        canvas,
        location=[6.0, 9.0],
        size=2.0,
        size_scale_surround=2.0,
        contrast=0.8,
        contrast_scale_surround=0.4,
        grey_level=0.0,
    )
    made = {
        "gabor": Gabor(canvas, **gabor)(),
        "plaid_of_gabors": PlaidsGabor(canvas, **gabor, angle=1.0, beta=0.5)(),
        "center_surround": CenterSurround(canvas, location=[8.0, 11.0], **rings)(),
        "bar": bar,
        "difference_of_gaussians": spot(),
        "plaid_of_gratings": plaid(),
    }
    return {f"stimulus/{k}": v.detach().numpy()[0, 0] for k, v in made.items()}


def operations(x):
    """Penalties [.] and projections of pictures [B, 1, H, W]."""
    from mei import postprocessing
    from mei.legacy import ops

    alone = [x[i : i + 1] for i in range(len(x))]
    flat = x - x.mean((1, 2, 3), keepdim=True)

    def each(function):
        return torch.stack([torch.as_tensor(function(one)) for one in alone])

    both = postprocessing.PNormConstraintAndClip(3.0, 2, HIGH, LOW)
    out = {
        # The mean over a batch of one is that picture's own.
        "total_variation": each(lambda one: ops.TotalVariation()(one)),
        "isotropic": each(lambda one: ops.TotalVariation(isotropic=True)(one)),
        "lp_norm": each(lambda one: ops.LpNorm(p=6)(one)),
        "correlation": ops.Similarity(metric="correlation")(x),
        "cosine": ops.Similarity(metric="cosine")(x),
        "distance": ops.Similarity(metric="neg_euclidean")(x),
        "norm": ops.ChangeNorm(4.0)(x),
        "norm_at_most": torch.cat(
            [postprocessing.PNormConstraint(4.0, 2)(one, 0) for one in alone]
        ),
        "norm_and_range": torch.cat([both(one) for one in alone]),
        "range": ops.ClipRange(LOW, HIGH)(x),
        "contrast": ops.ChangeStd(0.3)(flat),
        "blur": ops.GaussianBlur(0.8)(x),
        "smooth_spectrum": ops.FourierSmoothing(1.5)(x),
    }
    return {f"operation/{k}": np.asarray(v) for k, v in out.items()}


def climbed(start, filters):
    """What each objective is before every step, and the picture after the last one."""
    from mei.modules import (
        ConstrainedOutputModel,
        ContrastiveOutputModel,
        EnsembleModel,
    )
    from mei.optimization import MEI

    def model(scale):
        cells = torch.nn.Linear(H * W, len(filters), bias=False).requires_grad_(False)
        cells.weight.copy_(scale * filters.flatten(1))
        return torch.nn.Sequential(torch.nn.Flatten(), cells, torch.nn.ReLU())

    members = EnsembleModel(model(1.0), model(2.0))
    of = {
        "one": ConstrainedOutputModel(model(1.0), 1),
        "ensemble": ConstrainedOutputModel(members, 1),
        # Both of its models are asked for the same neuron; here they differ in scale.
        "contrast": ContrastiveOutputModel(model(2.0), model(0.5), 1),
    }

    def obey(x, i=0):
        return (x * (UNIT * np.sqrt(x.numel()) / x.norm()).clamp(max=1)).clamp(
            LOW, HIGH
        )

    def slope(g, i):
        falling = 0.99 * 0.5 * (1 + np.cos(np.pi * i / STEPS)) + 0.01
        return RATE * falling * UNIT * g / g.square().mean().sqrt()

    out = {}
    for name, function in of.items():
        x = obey(start.clone())
        mei = MEI(
            lambda x, f=function: f(x).squeeze(),
            x,
            torch.optim.SGD([x], lr=1.0),
            transparency=False,
            inhibitory=False,
            precondition=slope,
            postprocessing=obey,
        )
        states = [mei.step() for _ in range(STEPS)]
        out[f"climb/{name}/history"] = np.array([s.evaluation for s in states])
        out[f"climb/{name}/best"] = states[-1].post_processed_input.numpy()[0, 0]
    return out


def main():
    peers.use("sinzlab/neuralpredictors", "sinzlab/mei", "sinzlab/insilico-stimuli")
    old_names()
    torch.manual_seed(0)
    x, start, filters = (torch.randn(n, 1, H, W) for n in (3, 1, 2))
    start = 0.3 * start
    arrays = {"x": x.numpy()[:, 0], "start": start.numpy()[0, 0]}
    arrays |= {"filters": filters.numpy()[:, 0]}
    arrays |= stimuli() | operations(x) | climbed(start, filters)
    arrays = {k: np.asarray(v, np.float32) for k, v in arrays.items()}
    np.savez_compressed(HERE / "insilico.npz", **arrays)
    print(", ".join(f"{k} {v.shape}" for k, v in arrays.items()))


if __name__ == "__main__":
    main()
