"""What a model computes is counted without computing it."""

import jax
import jax.numpy as jnp
import pytest

from sensorium_jax.zoo.work import products


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def grouped(x, kernel):
    names = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=names, feature_group_count=2
    )


def seven_times(x):
    return jax.lax.scan(lambda c, _: (c @ c, None), x, None, length=7)[0]


def until_large(x):
    return jax.lax.while_loop(lambda c: c[0, 0] < 1, lambda c: c @ c, x)


def test_products_and_convolutions_count():
    assert products(jnp.matmul, shape(3, 4), shape(4, 5)) == 2 * 3 * 4 * 5
    batched = products(jax.vmap(jnp.matmul), shape(9, 3, 4), shape(9, 4, 5))
    assert batched == 9 * 2 * 3 * 4 * 5
    # 6 x 7 pixels of 6 features, each of 3 x 3 pixels and the 2 features of its group.
    assert products(grouped, shape(1, 8, 9, 4), shape(3, 3, 2, 6)) == 2 * 252 * 18
    assert products(jnp.exp, shape(3)) == 0


def test_loops_count_as_often_as_they_turn():
    assert products(seven_times, shape(3, 3)) == 7 * 54
    assert products(jax.checkpoint(jax.jit(seven_times)), shape(3, 3)) == 7 * 54
    with pytest.raises(ValueError, match="unknown length"):
        products(until_large, shape(3, 3))


def test_a_branch_counts_as_its_longest():
    def either(x):
        return jax.lax.cond(x[0, 0] > 0, seven_times, lambda x: x @ x, x)

    assert products(either, shape(3, 3)) == 7 * 54


def test_what_nothing_depends_on_does_not_count():
    def pulled(x, y, g):
        return jax.vjp(jnp.matmul, x, y)[1](g)

    assert products(pulled, shape(3, 4), shape(4, 5), shape(3, 5)) == 2 * 2 * 3 * 4 * 5
