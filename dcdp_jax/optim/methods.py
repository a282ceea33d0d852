"""The methods of modulation by name, for the config field `modulation.name` and `build_optimizer`."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import optax

from dcdp_jax.optim.arl import scale_by_arl
from dcdp_jax.optim.cggm import scale_by_cggm
from dcdp_jax.optim.cgm import scale_by_cgm
from dcdp_jax.optim.inforeg import scale_by_inforeg
from dcdp_jax.optim.mmpareto import combine_by_mmpareto
from dcdp_jax.optim.ogm import scale_by_ogm
from dcdp_jax.optim.rank import scale_by_rank
from dcdp_jax.optim.shuffled import scale_by_shuffled_cgm

PLACEMENTS = ("before", "after", "decoupled")


class Method(NamedTuple):
    """A method of modulation.

    Attributes:
      make: Function from (labels, **arguments) to a transformation.
      keywords: Keywords of its update: `confidence` (see `true_class_confidence`), `accuracy`, `entropy`, `magnitude`
        (see `batch_statistics`) or `unimodal`. The last is the gradient of the branches' own losses, which takes a
        second backward pass; the updates are then the gradient of the remaining losses.
      placements: Those of `PLACEMENTS` that it supports. A factor on the gradient may act before or after the moments;
        a method that adds to the gradient acts before them.
      optional: Whether a step may omit it. A method that combines two gradients cannot be omitted, because the first
        of them is not the gradient of the whole loss.
    """

    make: Callable[..., optax.GradientTransformationExtraArgs]
    keywords: tuple[str, ...] = ("confidence",)
    placements: tuple[str, ...] = ("before", "after")
    optional: bool = True


METHODS = {
    "cgm": Method(scale_by_cgm, placements=PLACEMENTS),
    "ogm": Method(scale_by_ogm),
    "ogm_ge": Method(functools.partial(scale_by_ogm, generalization_enhancement=True), placements=("before",)),
    "cggm": Method(scale_by_cggm, ("accuracy",)),
    "mmpareto": Method(combine_by_mmpareto, ("unimodal",), ("before",), optional=False),
    "rank": Method(scale_by_rank),
    "inforeg": Method(scale_by_inforeg, placements=("before",)),
    "arl": Method(scale_by_arl, ("entropy", "magnitude")),
    "random": Method(scale_by_shuffled_cgm),
    "random_mean_one": Method(functools.partial(scale_by_shuffled_cgm, mean_one=True)),
}
# The choices of `modulation.name`.
NAMES = ["none", *METHODS]


def add_method(name: str, method: Method) -> None:
    """Adds a method to the choices of `modulation.name` in this process, with its default arguments.

    Raises:
      ValueError: The name is taken.
    """
    if name in NAMES:
        raise ValueError(f"method {name!r} exists already; choose another name")
    METHODS[name] = method
    NAMES.append(name)
