"""Blocks of transformers over tokens [M, B, A, L, C]: tokens attend along L.

A and L are frames and places, or places and frames; what lies on A never mixes. No axis
of mice or windows is merged with another, so a mesh moves no data.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.errors import UserError
from sensorium_jax.models.ops import convolutions

Array = Any
small = nn.initializers.normal(0.02)


def uniform(fan_in: int) -> nn.initializers.Initializer:
    """Uniform within the inverse root of a fan-in, as PyTorch starts linear layers."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
        key, shape, dtype, -bound, bound
    )


class BlockOptions(NamedTuple):
    """What a block is made of; rates are those of values left out in training."""

    heads: int
    head_width: int
    hidden: int  # units between the two layers of the feed-forward part
    scale: float  # of the products of queries and keys
    swiglu: bool = False  # else GELU
    norm_qk: bool = False  # normalize queries and keys
    bias: bool = True  # of the linear layers, but for queries, keys and values
    drop_weights: bool = False  # leave out attention weights, else what is attended
    not_self: bool = False  # no token attends to itself; each head learns its scale
    drop_attention: float = 0.0
    drop_hidden: float = 0.0
    drop_path: float = 0.0
    together: int = 0  # sequences of A that attend at a time; 0 is all


def dropped(
    module: nn.Module, x: Array, rate: float, *, train: bool, alike: int = 0
) -> Array:
    """A share of the values becomes zero, the others grow so that the mean stays.

    The last `alike` axes share one draw: whole samples of [M, B, L, ...] are left out
    with all axes but three alike (drop path, Huang et al. 2016). The key follows from
    that of the step and the module's path. A draw belongs to its place in the array,
    so mice that are appended to fill a mesh change none.
    """
    if not train or rate == 0:
        return x
    if not module.has_rng("dropout"):
        raise UserError(
            "Training leaves values out at random: pass rngs={'dropout': key}, or set "
            "every drop rate of the core to 0."
        )
    shape = x.shape[: x.ndim - alike] + (1,) * alike
    kept = jax.random.bernoulli(module.make_rng("dropout"), 1 - rate, shape)
    return jnp.where(kept, x / (1 - rate), jnp.zeros((), x.dtype))


class LayerNorm(nn.Module):
    """Each token to mean 0 and variance 1, then scaled and shifted by feature."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Normalized along the last axis, in float32 inside."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        y = x.astype(jnp.float32)
        y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.epsilon)
        lead = (1,) * (x.ndim - 1) + (-1,)
        return (y * scale.reshape(lead) + bias.reshape(lead)).astype(x.dtype)


class Linear(nn.Module):
    """Linear layer that starts small (SD 0.02) and without bias."""

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., C] to [..., F]."""
        kernel = self.param("kernel", small, (x.shape[-1], self.features))
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolutions.pointwise(x, kernel, bias)


class StateMLP(nn.Module):
    """What the animal does, as a vector that is added to every token of a block."""

    features: int

    @nn.compact
    def __call__(self, state: Array) -> Array:
        """[..., K] to [..., F], between -1 and 1."""
        x = jnp.tanh(Linear(self.features // 2, name="layer0")(state))
        return jnp.tanh(Linear(self.features, name="layer1")(x))


class SequentialBlock(nn.Module):
    """Attention, then a feed-forward part, each on top of what it is given.

    Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929.
    """

    options: BlockOptions

    @nn.compact
    def __call__(self, x: Array, state: Array | None, *, train: bool) -> Array:
        """Tokens [M, B, A, L, C]; state broadcasts to them but for its last axis."""
        o, features = self.options, x.shape[-1]
        if state is not None:
            x = x + StateMLP(features, name="state")(state)
        inner = o.heads * o.head_width
        y = LayerNorm(name="norm")(x)
        qkv = Linear(3 * inner, use_bias=False, name="qkv")(y)
        y = Attention(o, name="attention")(*jnp.split(qkv, 3, -1), train=train)
        y = Linear(features, use_bias=o.bias, name="out")(y)
        y = dropped(self, y, o.drop_attention, train=train)
        x = x + dropped(self, y, o.drop_path, train=train, alike=2)
        y = LayerNorm(name="hidden_norm")(x)
        wide = o.hidden * (1 + o.swiglu)
        y = _activate(Linear(wide, use_bias=o.bias, name="hidden")(y), o)
        y = dropped(self, y, o.drop_hidden, train=train)
        y = Linear(features, use_bias=o.bias, name="hidden_out")(y)
        y = dropped(self, y, o.drop_hidden, train=train)
        return x + dropped(self, y, o.drop_path, train=train, alike=2)


class ParallelBlock(nn.Module):
    """Attention and a feed-forward part side by side, from one projection.

    No linear layer has a bias. Dehghani et al. 2023, https://arxiv.org/abs/2302.05442.
    """

    options: BlockOptions

    @nn.compact
    def __call__(self, x: Array, state: Array | None, *, train: bool) -> Array:
        """Tokens [M, B, A, L, C]; state broadcasts to them but for its last axis."""
        o, features = self.options, x.shape[-1]
        if state is not None:
            x = x + StateMLP(features, name="state")(state)
        inner = o.heads * o.head_width
        wide = 3 * inner + o.hidden * (1 + o.swiglu)
        y = Linear(wide, use_bias=False, name="fused")(LayerNorm(name="norm")(x))
        q, k, v, h = jnp.split(y, [inner, 2 * inner, 3 * inner], -1)
        y = Attention(o, name="attention")(q, k, v, train=train)
        y = Linear(features, use_bias=False, name="out")(y)
        h = dropped(self, _activate(h, o), o.drop_hidden, train=train)
        h = Linear(features, use_bias=False, name="hidden_out")(h)
        attended = dropped(self, y, o.drop_path, train=train, alike=2)
        return x + attended + dropped(self, h, o.drop_path, train=train, alike=2)


class Attention(nn.Module):
    """Every token takes the mean of values, weighted by how its query meets the keys.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; without oneself and with
    learned scales: Lee et al. 2021, https://arxiv.org/abs/2112.13492.
    """

    options: BlockOptions

    @nn.compact
    def __call__(self, q: Array, k: Array, v: Array, *, train: bool) -> Array:
        """Heads side by side, [M, B, A, L, heads x width], as the three arguments."""
        o = self.options
        if o.norm_qk:
            q, k = LayerNorm(name="norm_q")(q), LayerNorm(name="norm_k")(k)
        shape = (*q.shape[:-1], o.heads, o.head_width)
        q, k, v = (x.reshape(shape) for x in (q, k, v))
        scale = jnp.full(o.heads, o.scale)
        if o.not_self:
            scale = self.param("scale", lambda _: scale)
        q = q * scale.astype(q.dtype)[None, None, None, None, :, None]
        if o.drop_weights:
            weights = dropped(self, _weights(q, k, o), o.drop_attention, train=train)
            return _heads(_taken(weights, v))
        if o.together and q.shape[2] > o.together:
            y = _in_parts(q, k, v, o)
        else:
            y = _taken(_weights(q, k, o), v)
        return _heads(dropped(self, y, o.drop_attention, train=train))


def _weights(q: Array, k: Array, options: BlockOptions) -> Array:
    """How much each token takes of each other one, [..., heads, L, L]."""
    dots = jnp.einsum("...qhd,...khd->...hqk", q, k, preferred_element_type=jnp.float32)
    if options.not_self:
        oneself = jnp.eye(dots.shape[-1], dtype=bool)[(None,) * (dots.ndim - 2)]
        dots = jnp.where(oneself, jnp.finfo(dots.dtype).min, dots)
    return jax.nn.softmax(dots, -1).astype(q.dtype)


def _taken(weights: Array, v: Array) -> Array:
    return jnp.einsum("...hqk,...khd->...qhd", weights, v)


def _in_parts(q: Array, k: Array, v: Array, options: BlockOptions) -> Array:
    """The same, some sequences at a time; weights are computed again backwards."""

    @jax.checkpoint
    def one(qkv: tuple[Array, Array, Array]) -> Array:
        return _taken(_weights(*qkv[:2], options), qkv[2])

    moved = [jnp.moveaxis(x, 2, 0) for x in (q, k, v)]
    return jnp.moveaxis(jax.lax.map(one, moved, batch_size=options.together), 0, 2)


def _heads(x: Array) -> Array:
    """[..., heads, width] to [..., heads x width]."""
    return x.reshape(*x.shape[:-2], -1)


def _activate(x: Array, options: BlockOptions) -> Array:
    """GELU, or SwiGLU (Shazeer 2020): half of the units gate the others."""
    if not options.swiglu:
        return jax.nn.gelu(x, approximate=False)
    value, gate = jnp.split(x, 2, -1)
    return jax.nn.silu(gate) * value
