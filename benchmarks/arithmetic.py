"""Arithmetic of a JAX function's matrix products."""

import math
from collections.abc import Callable
from typing import Any

import jax


def product_flops(function: Callable[..., Any], *args: Any) -> int:
    """Multiplications and additions of all matrix products; those in a loop as often as it runs."""
    return _flops(jax.make_jaxpr(function)(*args).jaxpr)


def _flops(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = math.prod(shape[axis] for axis in contracted)
            total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name == "cond":  # one of its branches runs, or is compiled at all
            total += max(_flops(branch.jaxpr) for branch in equation.params["branches"])
            continue
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += times * _flops(inner)
    return total
