"""The optimiser chain for tests of other things, with usual constants unless a test gives its own."""

import optax

from dcdp_jax.optim import build_optimizer


def make_chain(name="adamw", rate=1e-3, *, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, clip_norm=0.0, **modulation):
    """Builds a chain; the rate is a number or a schedule, `modulation` are further arguments of `build_optimizer`."""
    schedule = rate if callable(rate) else optax.constant_schedule(rate)
    constants = {"b1": b1, "b2": b2, "eps": eps, "weight_decay": weight_decay, "clip_norm": clip_norm}
    return build_optimizer(name, schedule, **constants, **modulation)


def make_sgd(rate=1.0, **modulation):
    """Builds the chain of plain SGD, without momentum."""
    return make_chain("sgd", rate, b1=0.0, **modulation)
