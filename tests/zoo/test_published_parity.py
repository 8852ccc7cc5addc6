"""Files that torch saves of the originals, read without it, answer alike."""

import os
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from sensorium_jax.zoo.presets.every import PRESETS
from sensorium_jax.zoo.published import translate
from support.originals import peers
from support.originals.golden import relative

pytestmark = pytest.mark.parity
MICE = {"29515-10-12": 12, "29623-4-9": 17}
PREDICTOR = {"hidden_layers": 1, "hidden_features": 30, "final_tanh": True}


def readouts(features, height, width, sigma):
    """The originals' readouts of two mice, with biases and coordinates of their own."""
    import torch
    from neuralpredictors.layers.readouts import FullGaussian2d

    class Readouts(torch.nn.ModuleDict):
        def forward(self, x, data_key, shift=None, **_):
            return self[data_key](x, shift=shift)

    rng = np.random.default_rng(0)
    return Readouts(
        {
            mouse: FullGaussian2d(
                in_shape=(features, height, width),
                outdims=neurons,
                bias=True,
                init_mu_range=0.2,
                init_sigma=sigma,
                gauss_type="full",
                grid_mean_predictor=PREDICTOR,
                source_grid=rng.normal(size=(neurons, 2)),
                mean_activity=torch.rand(neurons),
            )
            for mouse, neurons in MICE.items()
        }
    )


def shaken(model):
    """The model in evaluation with no weight or statistic at its start."""
    import torch

    torch.manual_seed(0)
    for name, x in model.state_dict().items():
        if name.endswith("running_var"):
            x.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "norm.weight", "norm.bias", "_features")):
            x.normal_(0, 0.5)
        elif name.endswith(("coeffs", "bias")):
            x.normal_(0, 0.1)
    return model.eval()


def dynamic(model):
    """A 2023 baseline of the originals."""
    import torch
    from neuralpredictors.layers.cores import RotationEquivariant2dCore
    from neuralpredictors.layers.cores.conv3d import Factorized3dCore
    from neuralpredictors.layers.rnn_modules.gru_module import GRU_Module
    from neuralpredictors.layers.shifters import MLPShifter
    from sensorium.models.video_encoder import VideoFiringRateEncoder

    torch.manual_seed(0)
    shifter = MLPShifter(
        data_keys=list(MICE), hidden_channels_shifter=5, shift_layers=3
    )
    if model == "gru2023":
        core = RotationEquivariant2dCore(
            input_channels=3,
            hidden_channels=8,
            input_kern=9,
            hidden_kern=7,
            layers=4,
            num_rotations=8,
            gamma_input=500,
            pad_input=False,
            final_nonlinearity=False,
            momentum=0.9,
            stack=-1,
            gamma_hidden=500_000,
        )
        gru = GRU_Module(64, 64, input_kern=9, rec_kern=9)
        readout = readouts(64, 28, 56, 1.0)
        options = {"use_gru": True, "gru_module": gru, "twoD_core": True}
    else:
        core = Factorized3dCore(
            input_channels=3,
            hidden_channels=[32, 64, 128],
            spatial_input_kernel=(11, 11),
            temporal_input_kernel=11,
            spatial_hidden_kernel=(5, 5),
            temporal_hidden_kernel=5,
            layers=3,
            momentum=0.7,
            final_nonlin=True,
        )
        readout, options = readouts(128, 18, 46, 1.0), {}
    return shaken(VideoFiringRateEncoder(core, readout, shifter=shifter, **options))


@pytest.mark.parametrize(("model", "frames"), [("factorized2023", 21), ("gru2023", 4)])
def test_baselines_of_2023(model, frames, tmp_path):
    peers.use("sinzlab/neuralpredictors", "ecker-lab/sensorium_2023")
    import torch

    original = dynamic(model)
    torch.save(original.state_dict(), tmp_path / "model.pth")
    found = translate.convert_file(tmp_path / "model.pth", model)
    assert found.mice == tuple(MICE) and found.neurons == tuple(MICE.values())
    rng = np.random.default_rng(1)
    video = rng.normal(size=(2, 1, frames, 36, 64, 1)).astype(np.float32)
    behavior, pupil = rng.normal(size=(2, 2, 1, frames, 2)).astype(np.float32)
    apply = jax.jit(partial(found.encoder.apply, train=False))
    rates = apply(found.variables, video, behavior, pupil)
    for row, (mouse, neurons) in enumerate(MICE.items()):
        maps = np.broadcast_to(behavior[row][:, :, None, None], (1, frames, 36, 64, 2))
        x = np.concatenate([video[row], maps], -1).transpose(0, 4, 1, 2, 3)
        eye = pupil[row].transpose(0, 2, 1)
        with torch.no_grad():
            expected = original(
                torch.tensor(x), data_key=mouse, pupil_center=torch.tensor(eye)
            )
        assert relative(rates[row, ..., :neurons], expected) < 1e-4


@pytest.mark.parametrize("model", ["cnn2022", "cnn2022_plus", "ln2022", "ln2022_plus"])
def test_published_files_of_2022(model):
    peers.use("sinzlab/neuralpredictors", "sinzlab/sensorium")
    import torch
    from neuralpredictors.layers.cores import Stacked2dCore
    from neuralpredictors.layers.encoders import FiringRateEncoder
    from neuralpredictors.layers.readouts import FullGaussian2d
    from neuralpredictors.layers.shifters import MLPShifter

    from sensorium_jax.zoo.published.sources import BASE, FILES

    root = Path(os.environ["SENSORIUM_PEERS"]) / "sinzlab/sensorium"
    path = root / BASE.partition("/notebooks/")[2].join(("notebooks/", "/"))
    path = path / FILES[model].name
    if not path.is_file():
        pytest.skip(f"the checkout of sinzlab/sensorium has no {FILES[model].name}")
    state = torch.load(path, map_location="cpu", weights_only=True)
    found = translate.convert_file(path, model)
    (mouse,), (neurons,) = found.mice, found.neurons
    channels = 1 + found.inputs.behaviors

    class Readouts(torch.nn.ModuleDict):
        def forward(self, x, data_key, shift=None, **_):
            return self[data_key](x, shift=shift)

    core = Stacked2dCore(
        input_channels=channels,
        hidden_channels=64,
        input_kern=9,
        hidden_kern=7,
        layers=PRESETS[model]["core"]["layers"],
        pad_input=False,
        stack=-1,
        depth_separable=True,
        linear=model.startswith("ln"),
        momentum=0.9,
    )
    readout = FullGaussian2d(
        in_shape=(64, 28, 56),
        outdims=neurons,
        bias=True,
        gauss_type="full",
        grid_mean_predictor=PREDICTOR,
        source_grid=np.zeros((neurons, 2)),
    )
    eye = MLPShifter(data_keys=[mouse], hidden_channels_shifter=5, shift_layers=3)
    plus = model.endswith("_plus")
    original = FiringRateEncoder(
        core=core, readout=Readouts({mouse: readout}), shifter=eye if plus else None
    ).eval()
    missing, unexpected = original.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("conv.bias") for name in missing)
    with torch.no_grad():
        for name in missing:
            original.state_dict()[name].zero_()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 3, 1, 36, 64, 1)).astype(np.float32)
    behavior = rng.normal(size=(1, 3, 1, channels - 1)).astype(np.float32)
    pupil = rng.normal(size=(1, 3, 1, 2)).astype(np.float32)
    apply = jax.jit(partial(found.encoder.apply, train=False))
    rates = apply(found.variables, x, behavior, pupil)
    maps = np.broadcast_to(behavior[0, :, :, None, None], (3, 1, 36, 64, channels - 1))
    images = np.concatenate([x[0], maps], -1)[:, 0].transpose(0, 3, 1, 2)
    with torch.no_grad():
        expected = original(
            torch.tensor(images),
            data_key=mouse,
            pupil_center=torch.tensor(pupil[0, :, 0]),
        )
    assert relative(rates[0, :, 0], expected) < 1e-4
