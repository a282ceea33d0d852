"""How large a model is and what a window costs: parameters, and floating-point operations of one forward pass."""

from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun


def model_size(model: nn.Module, window: int, channels: int) -> tuple[int, float]:
    """Returns the number of parameters of a model of (b, t, c) windows, and its FLOPs.

    These are what one window more costs in the forward pass in evaluation: what is computed from the parameters alone,
    once for a batch, is not counted.
    """
    one, two = (jax.ShapeDtypeStruct((b, window, channels), jnp.float32) for b in (1, 2))
    variables = jax.eval_shape(model.init, jax.random.key(0), one)
    parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))
    return parameters, flops(model.apply, variables, two) - flops(model.apply, variables, one)


def flops(function: Callable, *arguments: Any) -> float:
    """Counts the floating-point operations of a function of arrays or their shapes; a multiply-add counts as two.

    XLA's cost analysis counts the body of a loop once; here it counts as often as a scan passes through it.
    Transcendental functions, which XLA counts apart, are not among them.

    Example:
      >>> flops(lambda a, b: a @ b, jnp.ones((2, 3)), jnp.ones((3, 5)))
      60.0
    """
    return flops_of_jaxpr(jax.make_jaxpr(function)(*arguments))


def flops_of_jaxpr(closed: ClosedJaxpr) -> float:
    """`flops` of a traced function."""
    loops = scans(closed.jaxpr)
    return flops_by_xla(closed) + sum(length * flops_of_jaxpr(body) - flops_by_xla(body) for body, length in loops)


def flops_by_xla(closed: ClosedJaxpr) -> float:
    """XLA's count, the body of every loop once."""
    cost = jax.jit(jaxpr_as_fun(closed)).lower(*closed.in_avals).cost_analysis()
    return float((cost or {}).get("flops", 0.0))


def scans(jaxpr: Any) -> Iterator[tuple[ClosedJaxpr, int]]:
    """The scans in a jaxpr, those inside its calls too but not those inside another scan: body and number of passes."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation.params["jaxpr"], equation.params["length"]
            continue
        for inner in equation.params.values():
            if isinstance(inner, ClosedJaxpr):
                yield from scans(inner.jaxpr)
            elif hasattr(inner, "eqns"):
                yield from scans(inner)
