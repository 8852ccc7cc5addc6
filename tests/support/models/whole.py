"""Start and ask a module by one program; op by op, each operation is compiled alone."""

from functools import partial

import jax


@partial(jax.jit, static_argnums=0, static_argnames="train")
def start(module, key, *inputs, **options):
    """Its first variables."""
    return module.init(key, *inputs, **options)


@partial(jax.jit, static_argnums=0, static_argnames=("train", "mutable"))
def ask(module, variables, *inputs, **options):
    """Its answer."""
    return module.apply(variables, *inputs, **options)
