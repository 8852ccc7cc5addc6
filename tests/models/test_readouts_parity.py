"""Readouts, shifters and modulators against the originals, in random shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.models.parts.modulator import MLPModulator
from sensorium_jax.models.parts.shifter import MLPShifter
from sensorium_jax.models.readouts.attention import AttentionReadout
from sensorium_jax.models.readouts.factorized import FactorizedReadout
from sensorium_jax.models.readouts.gaussian import CortexPredictor, GaussianReadout
from sensorium_jax.models.rows import Side
from support.models.mice import one_mouse
from support.originals import peers
from support.originals.golden import kernel, mlp_tree, readout_tree, relative

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the originals warn about themselves
]


@pytest.fixture(autouse=True)
def originals():
    peers.use("sinzlab/neuralpredictors")


@pytest.fixture
def shape(request):
    """Batch, features, rows, columns and neurons that follow from the test's number."""
    rng = np.random.default_rng(request.node.callspec.params["seed"])
    return tuple(int(n) for n in rng.integers((1, 2, 3, 4, 1), (5, 9, 9, 12, 30)))


def scatter(module):
    """Move every weight of a torch module away from its symmetric start."""
    import torch

    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return module


def arrays(module):
    return {k: v.detach().numpy() for k, v in module.state_dict().items()}


def gradients(module):
    return {k: p.grad.numpy() for k, p in module.named_parameters()}


def compare(drive, theirs, params, tree, x, module, *, at=1e-5):
    """Value, gradient of the weights and of the input; drive(params, feat)."""
    import torch

    xt = torch.tensor(x, requires_grad=True)
    y = theirs(xt)
    g = torch.randn_like(y)
    (y * g).sum().backward()
    feat = np.moveaxis(x, 1, -1)[:, None]

    def loss(params, feat):
        ours = drive(params, feat)[:, 0]
        return jnp.sum(ours * g.numpy()), ours

    (_, ours), (grad, slope) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
        params, feat
    )
    assert relative(ours, y.detach().numpy()) < at
    expected = tree(gradients(module))
    assert jax.tree.structure(grad) == jax.tree.structure(expected)
    largest = max(np.abs(b).max() for b in jax.tree.leaves(expected))
    for a, b in zip(*map(jax.tree.leaves, (grad, expected)), strict=True):
        # Some biases cancel (before a norm or a softmax): zero up to rounding.
        zero = np.abs(b).max() < 1e-5 * largest
        assert relative(a, b) < 1e-4 or (zero and np.abs(a).max() < 1e-5 * largest)
    assert relative(np.moveaxis(slope[:, 0], -1, 1), xt.grad.numpy()) < 1e-4


GAUSSIAN = [
    {"kind": "full", "hidden": 0},
    {"kind": "full", "hidden": 2, "tanh": False},
    {"kind": "uncorrelated", "hidden": 1, "bias": False},
    {"kind": "isotropic", "hidden": None, "align": False},
    {"kind": "full", "hidden": None, "range": 1.0},
]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("seed", "options"), [*enumerate(GAUSSIAN)])
def test_gaussian(shape, seed, options, train, monkeypatch):
    import torch
    from neuralpredictors.layers.readouts import FullGaussian2d

    torch.manual_seed(seed)
    b, c, h, w, n = shape
    rng = np.random.default_rng(seed)
    hidden, tanh = options["hidden"], options.get("tanh", True)
    predictor, given = None, {}
    if hidden is not None:
        predictor = CortexPredictor(6, hidden, tanh)
        given = {
            "source_grid": rng.normal(size=(n, 2)),
            "grid_mean_predictor": {
                "hidden_layers": hidden,
                "hidden_features": 6,
                "final_tanh": tanh,
            },
        }
    theirs = FullGaussian2d(
        (c, h, w),
        n,
        options.get("bias", True),
        options.get("range", 0.4),
        0.7,
        gauss_type=options["kind"],
        align_corners=options.get("align", True),
        **given,
    )
    scatter(theirs).train(train)
    readout = GaussianReadout(
        options["kind"],
        predictor,
        use_bias=options.get("bias", True),
        align_corners=options.get("align", True),
    )
    state = arrays(theirs)  # before the original clamps its positions in place
    state = {k: v.copy() for k, v in state.items()}
    mouse = one_mouse(n, coordinates=state.get("source_grid"))
    shift = rng.uniform(-0.5, 0.5, (b, 1, 2)).astype(np.float32)
    noise = rng.normal(size=(b, 1, n, 2)).astype(np.float32)
    drawn = torch.tensor(noise).movedim(1, 2)  # [B, N, 1, 2]
    monkeypatch.setattr(torch.Tensor, "normal_", lambda self: self.copy_(drawn))

    def drive(params, feat):
        side = Side(shift_bt2=shift, noise_btn2=noise)
        return readout.apply({"params": params}, feat, mouse, side, train=train)

    compare(
        drive,
        lambda x: theirs(x, shift=torch.tensor(shift[:, 0])),
        readout_tree(state),
        readout_tree,
        rng.normal(size=(b, c, h, w)).astype(np.float32),
        theirs,
    )


FACTORIZED = [
    {},
    {"normalize": False},
    {"positive_spatial": True},
    {"constrain_pos": True},
    {"constrain_pos": True, "normalize": False},
]


@pytest.mark.parametrize(("seed", "options"), [*enumerate(FACTORIZED)])
def test_factorized(shape, seed, options):
    import torch
    from neuralpredictors.layers.readouts import FullFactorized2d

    torch.manual_seed(seed)
    b, c, h, w, n = shape
    theirs = scatter(FullFactorized2d((c, h, w), n, seed % 2 == 0, **options))
    readout = FactorizedReadout(
        normalize=options.get("normalize", True),
        positive_spatial=options.get("positive_spatial", False),
        constrain_positive=options.get("constrain_pos", False),
        use_bias=seed % 2 == 0,
    )
    state = {k: v.copy() for k, v in arrays(theirs).items()}

    def drive(params, feat):
        return readout.apply(
            {"params": params}, feat, one_mouse(n), Side(), train=False
        )

    x = np.random.default_rng(seed).normal(size=(b, c, h, w)).astype(np.float32)
    compare(drive, theirs, readout_tree(state), readout_tree, x, theirs)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("seed", "layers", "size"), [(0, 1, 1), (1, 2, 3), (2, 3, 3)])
def test_attention(shape, seed, layers, size, train):
    import torch
    from neuralpredictors.layers.readouts import AttentionReadout as Theirs

    torch.manual_seed(seed)
    b, c, h, w, n = shape
    theirs = Theirs((c, h, w), n, True, attention_kernel=size, attention_layers=layers)
    scatter(theirs).train(train)
    for module in theirs.attention:  # it pads by a bool, which torch now refuses
        if isinstance(module, torch.nn.Conv2d):
            module.padding = tuple(int(p) for p in module.padding)
    readout = AttentionReadout(layers, size)

    def tree(state):
        out = {"features": state["features"], "bias": state["bias"]}
        for i in range(layers):
            # The original numbers its last convolution by the count of layers.
            name = f"attention.conv{i if i < layers - 1 else layers}"
            out[f"conv{i}"] = {
                "kernel": kernel(state[f"{name}.weight"]),
                "bias": state[f"{name}.bias"],
            }
            if i < layers - 1:
                norm = f"attention.norm{i}"
                out[f"norm{i}"] = {
                    "scale": state[f"{norm}.weight"],
                    "bias": state[f"{norm}.bias"],
                }
        return out

    state = {k: v.copy() for k, v in arrays(theirs).items()}
    stats = {
        f"norm{i}": {
            "mean": state[f"attention.norm{i}.running_mean"],
            "var": state[f"attention.norm{i}.running_var"],
        }
        for i in range(layers - 1)
    }

    def drive(params, feat):
        variables = {"params": params, "batch_stats": stats}
        y, _ = readout.apply(
            variables, feat, one_mouse(n), Side(), train=train, mutable=["batch_stats"]
        )
        return y

    x = np.random.default_rng(seed).normal(size=(b, c, h, w)).astype(np.float32)
    compare(drive, theirs, tree(state), tree, x, theirs)


@pytest.mark.parametrize(("seed", "layers", "bias"), [(0, 1, True), (1, 4, False)])
def test_shifter_and_modulator(seed, layers, bias):
    import torch
    from neuralpredictors.layers.modulators.mlp import MLP as Modulator
    from neuralpredictors.layers.shifters import MLP

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pupil = rng.normal(size=(7, 1, 2)).astype(np.float32)
    theirs = MLP(2, 6, layers, bias)
    ours = MLPShifter(6, layers, bias).apply(
        {"params": mlp_tree(arrays(theirs.mlp))}, pupil, one_mouse(1)
    )
    expected = theirs(torch.tensor(pupil[:, 0])).detach().numpy()
    assert relative(ours[:, 0], expected) < 1e-5

    behavior = rng.normal(size=(7, 1, 3)).astype(np.float32)
    theirs = Modulator(9, 3, 10, layers, bias)
    params = {"params": mlp_tree(arrays(theirs.modulator_networks[0]))}
    gain = MLPModulator(10, layers, bias).apply(params, behavior, one_mouse(9))
    drive = rng.normal(size=(7, 9)).astype(np.float32)
    expected = theirs(torch.tensor(drive), torch.tensor(behavior[:, 0]))
    assert relative(gain[:, 0] * drive, expected.detach().numpy()) < 1e-5
