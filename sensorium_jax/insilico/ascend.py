"""Stimuli that climb an objective: step, project, stop; each row by itself.

A row is a neuron from one start; it may hold several stimuli that must differ. The
gradient is smoothed and brought to the size of the budget, so that a rate means the
same for every neuron; then comes any optax optimizer, then the projection. A row that
has stopped stays as it is, so that no result depends on what it was computed with.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sensorium_jax.errors import UserError, unknown
from sensorium_jax.insilico import constraints, stimuli
from sensorium_jax.insilico.constraints import Budget

Array = Any
Tree = Any
OPTIMIZERS = {"sgd": optax.sgd, "adam": optax.adam}
DOMAINS = ("pixel", "fourier")
DECAY = 0.9  # of the running mean that says whether the objective still grows


class Climb(NamedTuple):
    """How to climb. Weights of penalties are shares of the objective itself."""

    steps: int = 200
    rate: float = 0.5  # of the budget's contrast, at first; it falls to zero
    optimizer: Any = "sgd"  # or "adam", or an optax optimizer without a rate schedule
    domain: str = "pixel"  # what steps are taken in; "fourier" prefers what is smooth
    smooth: float = 0.0  # SD of a Gaussian over the gradient, pixels
    smooth_spectrum: float = 0.0  # exponent; see constraints.smooth_spectrum
    blur: float = 0.0  # SD of a Gaussian over the stimulus after every step
    jitter: int = 0  # most pixels by which it is moved at random before every step
    variation: float = 0.0  # weight of the mean difference of neighbours
    spectrum: float = 0.0  # weight of how unlike natural spectra it is
    likeness: float = 0.0  # weight of the most alike pair of a row's stimuli
    transparency: float = 0.0  # weight of how much of the screen it covers
    patience: int = 50  # steps without growth after which a row stops
    start: float = 1.0  # contrast of the noise that it starts from, of the budget's


class Climbed(NamedTuple):
    """What was reached; B rows of D stimuli."""

    z: Array  # [B, D, T, H, W, C] in units of contrast
    value: Array  # [B, D] the objective
    history: Array  # [B, steps] its mean over D; NaN after the stop
    steps: Array  # [B]
    slope: Array  # [B] largest gradient that was met; 0 where the objective is flat
    alpha: Array | None  # [B, D, 1, H, W, 1] how opaque, where that may change


def check(climb: Climb) -> None:
    """Refuse what nobody can climb by."""
    if isinstance(climb.optimizer, str) and climb.optimizer not in OPTIMIZERS:
        raise unknown("optimizer", climb.optimizer, OPTIMIZERS)
    if climb.domain not in DOMAINS:
        raise unknown("domain", climb.domain, DOMAINS)
    if climb.steps < 1 or climb.rate <= 0:
        raise UserError(
            f"{climb.steps} steps at a rate of {climb.rate:g}: both must be above 0."
        )


def ascend(
    objective: Callable[[Array, Tree], Array],
    extra: Tree,
    keys_b: Array,
    shape: tuple[int, ...],
    climb: Climb,
    budget: Budget,
    *,
    members: int = 1,
    sign: float = 1.0,
    mask_bhw: Array | None = None,
    fixed_bthwc: Array | None = None,
    turned_b: Array | None = None,
    begin: Array | None = None,
) -> Climbed:
    """Climb objective(z [B * D, T, H, W, C], extra) -> [B * D], for use under jit.

    extra leads with B and is handed on repeated for the D members. shape is [T, H, W,
    C]. keys_b are one key for each row; those that are turned start from the negative
    of their noise, since a neuron that is silent at one may answer the other; with
    begin [B, D, T, H, W, C] they start from that instead. The free stimulus lives under
    the mask, what is fixed is added to it.
    """
    rows, d = keys_b.shape[0], members
    hill = _Hill(
        objective,
        jax.tree.map(lambda x: jnp.repeat(x, d, axis=0), extra),
        *(climb, budget, (rows * d, *shape), d, sign),
        mask=None if mask_bhw is None else jnp.repeat(mask_bhw, d, axis=0),
        fixed=0.0 if fixed_bthwc is None else jnp.repeat(fixed_bthwc, d, axis=0),
    )
    if begin is None:
        z = noise(keys_b, shape, d, climb.start * hill.unit)
    else:
        z = begin.reshape(rows * d, *shape)
    if turned_b is not None:
        flip = jnp.where(jnp.repeat(turned_b, d), -1.0, 1.0)
        z = z * flip[:, None, None, None, None]
    z = hill.obey(z)
    params = hill.coded(z)
    if climb.transparency:
        params["alpha"] = jnp.full((rows * d, 1, *shape[1:3], 1), 0.5)
    carry = _Carry(
        step=jnp.zeros((), jnp.int32),
        params=params,
        memory=jax.vmap(optimizer_of(climb).init)(params),
        ema_b=jnp.zeros(rows),
        best_b=jnp.full(rows, -jnp.inf),
        waited_b=jnp.zeros(rows, jnp.int32),
        done_b=jnp.zeros(rows, bool),
        steps_b=jnp.zeros(rows, jnp.int32),
        slope_b=jnp.zeros(rows),
        history=jnp.full((rows, climb.steps), jnp.nan),
    )

    def going(c: _Carry) -> Array:
        return (c.step < climb.steps) & ~c.done_b.all()

    end = jax.lax.while_loop(going, lambda c: _step(hill, keys_b, c), carry)
    shown, alpha = hill.shown(end.params), end.params.get("alpha")
    return Climbed(
        shown.reshape(rows, d, *shape),
        objective(shown, hill.extra).reshape(rows, d),
        end.history,
        end.steps_b,
        end.slope_b,
        None if alpha is None else alpha.reshape(rows, d, 1, *shape[1:3], 1),
    )


class _Hill(NamedTuple):
    """What is climbed; R = B * D stimuli."""

    objective: Callable[[Array, Tree], Array]
    extra: Tree
    climb: Climb
    budget: Budget
    shape: tuple[int, ...]  # [R, T, H, W, C]
    members: int
    sign: float
    mask: Array | None
    fixed: Array | float

    @property
    def unit(self) -> float:
        """The contrast that is allowed."""
        return unit_of(self.budget, self.shape[1:])

    def obey(self, z: Array) -> Array:
        """The stimuli within blur, mask and budget."""
        smooth = constraints.blur(z, self.climb.blur)
        return constraints.project(smooth, self.budget, self.mask)

    def coded(self, z: Array) -> dict[str, Array]:
        """What steps are taken in."""
        fourier = self.climb.domain == "fourier"
        return constraints.to_spectrum(z) if fourier else {"z": z}

    def image(self, params: dict[str, Array]) -> Array:
        """The stimuli of that."""
        if self.climb.domain == "fourier":
            return constraints.from_spectrum(params, self.shape)
        return params["z"]

    def shown(self, params: dict[str, Array]) -> Array:
        """The stimuli with what is fixed, as opaque as they are over grey."""
        return self.image(params) * params.get("alpha", 1.0) + self.fixed

    def loss(self, params: dict[str, Array], keys_r: Array) -> tuple[Array, Array]:
        """What falls as stimuli improve, and the objective of each, [R]."""
        z, alpha = self.image(params), params.get("alpha")
        shown = (
            z if alpha is None else _over(z, alpha, keys_r, self.unit)
        ) + self.fixed
        if self.climb.jitter:
            limits = (-self.climb.jitter, self.climb.jitter + 1)
            shift = jax.vmap(lambda k: jax.random.randint(k, (2,), *limits))(keys_r)
            shown = constraints.shifted(shown, shift)
        value_r = self.objective(shown, self.extra)
        size_r = jax.lax.stop_gradient(jnp.abs(value_r))
        lost_r = _penalties(self.climb, z, self.members, self.unit)
        if alpha is not None:
            opaque_r = jnp.mean(alpha, constraints.AXES)
            lost_r = lost_r + self.climb.transparency * opaque_r
        return (size_r * lost_r - self.sign * value_r).sum(), value_r


def _step(hill: _Hill, keys_b: Array, c: "_Carry") -> "_Carry":
    """One step of every row that has not stopped."""
    rows, d = keys_b.shape[0], hill.members
    keys_r = jax.vmap(lambda k: jax.random.fold_in(k, c.step))(jnp.repeat(keys_b, d))
    (_, value_r), slope = jax.value_and_grad(hill.loss, has_aux=True)(c.params, keys_r)
    largest = [jnp.abs(g.reshape(rows, -1)).max(1) for g in jax.tree.leaves(slope)]
    size_b = jnp.stack(largest).max(0)
    slope = _conditioned(slope, hill.climb, hill.unit)
    update = jax.vmap(optimizer_of(hill.climb).update)
    moves, memory = update(slope, c.memory, c.params)
    moved = jax.tree.map(jnp.add, c.params, moves)
    new = hill.coded(hill.obey(hill.image(moved)))
    if "alpha" in moved:
        new["alpha"] = jnp.clip(moved["alpha"], 0, 1)
    value_b = value_r.reshape(rows, d).mean(1)
    goal_b = hill.sign * value_b
    ema_b = jnp.where(c.step == 0, goal_b, DECAY * c.ema_b + (1 - DECAY) * goal_b)
    grown_b = ema_b > c.best_b + 1e-5 * jnp.abs(c.best_b)
    waited_b = jnp.where(grown_b, 0, c.waited_b + 1)
    live_r = jnp.repeat(~c.done_b, d)

    def kept(a: Array, b: Array) -> Array:
        return jnp.where(live_r.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    seen_b = jnp.where(c.done_b, jnp.nan, value_b)
    return _Carry(
        step=c.step + 1,
        params=jax.tree.map(kept, new, c.params),
        memory=jax.tree.map(kept, memory, c.memory),
        ema_b=ema_b,
        best_b=jnp.maximum(c.best_b, ema_b),
        waited_b=waited_b,
        done_b=c.done_b | (waited_b >= hill.climb.patience),
        steps_b=c.steps_b + ~c.done_b,
        slope_b=jnp.where(c.done_b, c.slope_b, jnp.maximum(c.slope_b, size_b)),
        history=c.history.at[:, c.step].set(seen_b),
    )


class _Carry(NamedTuple):
    """Everything that a step changes; R is B * D."""

    step: Array
    params: Tree
    memory: Tree  # of the optimizer
    ema_b: Array
    best_b: Array
    waited_b: Array
    done_b: Array
    steps_b: Array
    slope_b: Array
    history: Array


def keys(seed: int, neuron_b: Array, start_b: Array) -> Array:
    """A key for each row, from the neuron and the number of its start alone."""

    def one(neuron, start):
        key = jax.random.fold_in(jax.random.key(seed), neuron)
        return jax.random.fold_in(key, start)

    return jax.vmap(one)(neuron_b, start_b)


def unit_of(budget: Budget, shape: tuple[int, ...]) -> float:
    """The contrast that is allowed; what steps and starts are measured by."""
    wanted = constraints.target(budget, int(np.prod(shape)))
    room = min(abs(budget.low), budget.high) / 2
    return room if wanted is None else wanted / float(np.sqrt(np.prod(shape)))


def noise(keys_b: Array, shape: tuple[int, ...], members: int, size: float) -> Array:
    """Pink noise of this SD, another for each row and member: [B * D, T, H, W, C]."""
    frame = stimuli.Frame(shape[1], shape[2], shape[0])

    def one(key):
        seeds = jax.random.randint(key, (members,), 0, 2**24)
        return jax.vmap(lambda s: stimuli.noise(frame, s, 1.0))(seeds)

    z = 3 * size * jax.vmap(one)(keys_b).reshape(-1, *shape[:3])
    return jnp.broadcast_to(z[..., None], (*z.shape, shape[3]))


def _over(z: Array, alpha: Array, keys_r: Array, unit: float) -> Array:
    """The stimulus over other noise in every step, as far as it is opaque."""
    ground = noise(keys_r, z.shape[1:], 1, unit)
    return alpha * z + (1 - alpha) * ground


def _penalties(climb: Climb, z: Array, members: int, unit: float) -> Array:
    """What is lost, in shares of the objective, [B * D]."""
    lost = jnp.zeros(z.shape[0])
    if climb.variation:
        mean = constraints.total_variation(z) / float(np.prod(z.shape[1:]))
        lost = lost + climb.variation * mean / unit
    if climb.spectrum:
        lost = lost + climb.spectrum * constraints.unlike_natural(z)
    if climb.likeness and members > 1:
        groups = z.reshape(-1, members, *z.shape[1:])
        # Every member pays its share of what the row pays.
        most = constraints.alike(groups)
        lost = lost + climb.likeness * jnp.repeat(most, members)
    return lost


def _conditioned(slope: Tree, climb: Climb, unit: float) -> Tree:
    """The gradient, smooth and as large as the budget."""
    alpha = {k: constraints.by_size(v) for k, v in slope.items() if k == "alpha"}
    rest = {k: v for k, v in slope.items() if k != "alpha"}
    if climb.domain == "fourier":
        square = sum(
            jnp.mean(v**2, constraints.AXES, keepdims=True) for v in rest.values()
        )
        size = jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)
        rest = {k: unit * v * size for k, v in rest.items()}
    else:
        g = rest["z"]
        if climb.smooth_spectrum:
            g = constraints.smooth_spectrum(g, climb.smooth_spectrum)
        rest = {"z": unit * constraints.by_size(constraints.blur(g, climb.smooth))}
    return {**rest, **{k: 0.3 * v for k, v in alpha.items()}}


def optimizer_of(climb: Climb) -> Any:
    """What moves the parameters of one row."""
    if not isinstance(climb.optimizer, str):
        return climb.optimizer
    rate = optax.cosine_decay_schedule(climb.rate, climb.steps, alpha=0.01)
    return OPTIMIZERS[climb.optimizer](rate)
