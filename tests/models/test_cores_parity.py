"""Cores against the originals at many shapes and options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.models.cores.basic3d import Basic3dCore
from sensorium_jax.models.cores.factorized3d import Factorized3dCore
from sensorium_jax.models.cores.rotation2d import RotationEquivariant2dCore
from sensorium_jax.models.cores.stacked2d import Stacked2dCore
from sensorium_jax.models.parts.gru import ConvGRU
from support.originals import peers
from support.originals.golden import core_trees, gru_tree, images, relative, video

pytestmark = pytest.mark.parity

# The original's option: ours, where the names differ.
NAMES = {
    "input_kern": "input_kernel",
    "hidden_kern": "hidden_kernel",
    "spatial_input_kernel": "input_spatial_kernel",
    "temporal_input_kernel": "input_temporal_kernel",
    "spatial_hidden_kernel": "hidden_spatial_kernel",
    "temporal_hidden_kernel": "hidden_temporal_kernel",
    "spatial_dilation": "input_spatial_dilation",
    "temporal_dilation": "input_temporal_dilation",
    "final_nonlin": "final_nonlinearity",
    "hidden_nonlinearities": "nonlinearity",
    "n_se_blocks": "squeeze_blocks",
    "se_reduction": "squeeze_reduction",
    "num_rotations": "rotations",
    "init_std": "init_deviation",
    "rot_eq_batch_norm": "shared_norm",
}

STACKED = [
    dict(),
    dict(layers=1, final_nonlinearity=False),
    dict(layers=4, hidden_kern=[3, 5, 3], stack=-2, final_nonlinearity=False),
    dict(pad_input=False, stack=-1, depth_separable=True, bias=False),
    dict(
        depth_separable=True, hidden_dilation=2, hidden_kern=[3, 5], stride=2, stack=2
    ),
    dict(skip=2, layers=4, stack=[0, -1], elu_shift=(0.3, -0.2)),
    dict(
        skip=3, layers=4, hidden_dilation=2, batch_norm_scale=[True, False, True, True]
    ),
    dict(input_stride=2, stride=2, stack=-1, hidden_channels=[3, 4, 5], linear=True),
    dict(hidden_padding=3, hidden_kern=5, stack=-1, bias=[True, False, True]),
    dict(batch_norm=[True, False, True], input_kern=4, hidden_kern=2, stack=-1),
]
SQUEEZED = [
    dict(n_se_blocks=2, se_reduction=2, depth_separable=True),
    dict(n_se_blocks=5, se_reduction=4, stack=-1, bias=True),
]
ROTATED = [
    dict(),
    dict(num_rotations=4, upsampling=3, pad_input=False, stack=-1),
    dict(hidden_kern=[3, 5], hidden_padding=2, hidden_channels=[2, 3, 1], stack=1),
    dict(num_rotations=6, stride=2, stack=-1, elu_shift=(0.1, 0.2), linear=True),
    dict(bias=False, layers=2, upsampling=1, final_nonlinearity=False),
    dict(batch_norm_scale=[True, False, True], batch_norm=[True, True, False]),
]
FACTORIZED = [
    dict(),
    dict(layers=1, final_nonlin=False, hidden_channels=5, stride=2),
    dict(stride=[2, 1, 2], padding=True, momentum=0.7, hidden_nonlinearities="relu"),
    dict(temporal_dilation=2, spatial_dilation=2, spatial_hidden_kernel=(2, 3)),
    dict(bias=False, batch_norm_scale=False, temporal_hidden_kernel=1),
    dict(batch_norm=False, layers=2, hidden_channels=[4, 2], spatial_input_kernel=4),
]
BASIC = [
    dict(),
    dict(stride=[1, 2, 1], padding=True, hidden_channels=[3, 4, 2], momentum=0.9),
    dict(hidden_spatial_dilation=2, hidden_temporal_dilation=[2, 1, 3]),
    dict(bias=False, spatial_dilation=2, temporal_dilation=3),
    dict(layers=1, hidden_channels=[5], final_nonlin=False, batch_norm=False),
]


def renamed(options):
    """Options under our names, lists as tuples."""
    return {
        NAMES.get(name, name): tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
    }


def randomize(model, torch):
    """Every parameter and running statistic away from where it starts."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if (
            value.dtype != torch.float32
            or "rotate_hermite" in name
            or "laplace" in name
        ):
            continue
        draw = torch.randn(value.shape, generator=generator)
        fan = value[0].numel() if value.ndim > 1 else 1
        if name.endswith(("norm.weight", "running_var", "scale.scale")):
            value.copy_(1 + 0.1 * draw.abs())
        else:
            value.copy_(draw / max(fan, 1) ** 0.5)


def arrays(state):
    return {name: value.detach().numpy().copy() for name, value in state.items()}


def compare(core, model, x, layout):
    """Both modes, two mice one after the other, all gradients, running statistics."""
    import torch

    randomize(model, torch)
    params, stats = core_trees(arrays(model.state_dict()))
    variables = {"params": params, "batch_stats": stats}
    start = jax.eval_shape(
        lambda: core.init(jax.random.key(0), layout(x[0]), train=False)
    )
    assert jax.tree.map(jnp.shape, dict(start)) == jax.tree.map(
        jnp.shape, {name: tree for name, tree in variables.items() if tree}
    )
    ours = np.concatenate([layout(mouse) for mouse in x])

    model.eval()
    theirs = [layout(model(torch.tensor(mouse)).detach().numpy()) for mouse in x]
    y = jax.jit(lambda x: core.apply(variables, x, train=False))(ours)
    assert relative(y, np.concatenate(theirs)) < 1e-5
    assert y.shape[2:] == core.out_shape(*ours.shape[2:5])

    model.train()
    inputs = [torch.tensor(mouse, requires_grad=True) for mouse in x]
    outputs = [model(mouse) for mouse in inputs]
    weights = [np.random.default_rng(2).normal(size=o.shape) for o in outputs]
    weights = [w.astype(np.float32) for w in weights]
    sum(
        (o * torch.tensor(w)).sum() for o, w in zip(outputs, weights, strict=True)
    ).backward()
    weight = np.concatenate([layout(w) for w in weights])

    @jax.jit
    def step(params, x):
        def loss(params, x):
            y, new = core.apply(
                {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
            )
            return (y * weight).sum(), (y, new)

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    (grad, grad_x), (y, new) = step(params, ours)
    theirs = np.concatenate([layout(o.detach().numpy()) for o in outputs])
    assert relative(y, theirs) < 2e-5
    theirs = np.concatenate([layout(mouse.grad.numpy()) for mouse in inputs])
    assert relative(grad_x, theirs) < 1e-4
    named = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    same_gradients(grad, core_trees(arrays(named))[0])
    _, expected = core_trees(arrays(model.state_dict()))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        new.get("batch_stats", {}),
        expected,
    )


def same_gradients(ours, theirs):
    """Within 1e-4 of the largest entry of the layer: biases before a norm are zero."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for name in ours:
        size = max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs[name]))
        jax.tree.map(
            lambda a, b, size=size: np.testing.assert_allclose(a, b, atol=1e-4 * size),
            ours[name],
            theirs[name],
        )


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("options", STACKED, ids=str)
def test_stacked(options):
    peers.use("sinzlab/neuralpredictors")
    from neuralpredictors.layers.cores import conv2d

    options = dict(hidden_channels=4, input_kern=5, hidden_kern=3) | options
    core = Stacked2dCore(2, **renamed(options))
    compare(core, conv2d.Stacked2dCore(2, **options), draw(2, 3, 2, 13, 16), images)


@pytest.mark.parametrize("options", SQUEEZED, ids=str)
def test_squeezed(options, monkeypatch):
    peers.use("sinzlab/neuralpredictors")
    from neuralpredictors.layers.cores import conv2d

    original = conv2d.SqueezeExcitationBlock
    monkeypatch.setattr(  # the original hands over a list where it wants a number
        conv2d,
        "SqueezeExcitationBlock",
        lambda in_ch, reduction: original(in_ch[0], reduction),
    )
    options = dict(hidden_channels=8, input_kern=5, hidden_kern=3, bias=False) | options
    core = Stacked2dCore(2, **renamed(options))
    compare(core, conv2d.SE2dCore(2, **options), draw(2, 3, 2, 12, 11), images)


@pytest.mark.parametrize("options", ROTATED, ids=str)
def test_rotated(options):
    peers.use("sinzlab/neuralpredictors")
    from neuralpredictors.layers.cores import conv2d

    options = dict(hidden_channels=2, input_kern=5, hidden_kern=3) | options
    core = RotationEquivariant2dCore(2, **renamed(options))
    model = conv2d.RotationEquivariant2dCore(2, **options)
    compare(core, model, draw(2, 3, 2, 13, 16), images)


@pytest.mark.parametrize("options", FACTORIZED, ids=str)
def test_factorized(options):
    peers.use("sinzlab/neuralpredictors")
    from neuralpredictors.layers.cores.conv3d import Factorized3dCore as Original

    options = (
        dict(
            hidden_channels=[3, 4, 2],
            spatial_input_kernel=(5, 3),
            temporal_input_kernel=3,
            spatial_hidden_kernel=3,
            temporal_hidden_kernel=2,
            final_nonlin=True,
        )
        | options
    )
    core = Factorized3dCore(2, **renamed(options))
    compare(core, Original(2, **options), draw(2, 2, 2, 9, 15, 18), video)


@pytest.mark.parametrize("options", BASIC, ids=str)
def test_basic(options):
    peers.use("sinzlab/neuralpredictors")
    from neuralpredictors.layers.cores.conv3d import Basic3dCore as Original

    kernels = dict(input_kernel=(3, 5, 3), hidden_kernel=(2, 3, 3))
    options = dict(hidden_channels=[3, 2, 4]) | kernels | options
    core = Basic3dCore(2, **renamed(options))
    compare(core, Original(2, **options), draw(2, 2, 2, 12, 15, 18), video)


@pytest.mark.parametrize(
    "options", [dict(), dict(groups=2), dict(pad_input=False, rec_kern=5)], ids=str
)
def test_gru(options):
    peers.use("sinzlab/neuralpredictors")
    import torch
    from neuralpredictors.layers.rnn_modules.gru_module import GRU_Module

    options = dict(rec_channels=6, input_kern=3, rec_kern=3) | options
    model = GRU_Module(4, **options)
    randomize(model, torch)
    gru = ConvGRU(
        4,
        options["rec_channels"],
        options["input_kern"],
        options["rec_kern"],
        options.get("groups", 1),
        options.get("pad_input", True),
    )
    x = draw(2, 4, 5, 8, 9)
    theirs = torch.tensor(x, requires_grad=True)
    out = model(theirs)
    weight = np.random.default_rng(2).normal(size=out.shape).astype(np.float32)
    (out * torch.tensor(weight)).sum().backward()
    params = gru_tree(arrays(model.state_dict()))

    def loss(params, x):
        y = gru.apply({"params": params}, x)
        return (y * video(weight)).sum(), y

    (grad, grad_x), y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, video(x))
    assert relative(y, video(out.detach().numpy())) < 1e-5
    assert relative(grad_x, video(theirs.grad.numpy())) < 1e-4
    expected = gru_tree(arrays({n: p.grad for n, p in model.named_parameters()}))
    assert jax.tree.structure(grad) == jax.tree.structure(expected)
    for a, b in zip(*map(jax.tree.leaves, (grad, expected)), strict=True):
        assert relative(a, b) < 1e-4
