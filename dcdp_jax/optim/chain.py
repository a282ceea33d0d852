"""The optimiser as one optax chain: clip, CGM, moments, weight decay, learning rate."""

from typing import Any

import jax
import optax

from dcdp_jax.optim.branches import Labels
from dcdp_jax.optim.cgm import scale_by_cgm
from dcdp_jax.optim.decoupled import scale_by_adam_with_decoupled_cgm
from dcdp_jax.optim.grouped import update_vectors_together

PLACEMENTS = ("before", "after", "decoupled")
OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant")


def learning_rate_schedule(name: str, peak: float, total_steps: int, warmup_steps: int) -> optax.Schedule:
    """Linear warm-up, then a cosine to 0 or a constant.

    Args:
      name: one of `SCHEDULES`.
      peak: learning rate after the warm-up.
      total_steps: steps of the whole training; the cosine ends there.
      warmup_steps: step i < warmup_steps has rate peak * (i + 1) / warmup_steps.

    Returns:
      step -> learning rate.

    Raises:
      ValueError: an unknown name.
    """
    if name == "cosine":
        after = optax.cosine_decay_schedule(peak, max(total_steps - warmup_steps, 1))
    elif name == "constant":
        after = optax.constant_schedule(peak)
    else:
        raise ValueError(f"schedule {name!r} is none of {SCHEDULES}")
    if warmup_steps == 0:
        return after
    warmup = optax.linear_schedule(peak / warmup_steps, peak * (1 + 1 / warmup_steps), warmup_steps)
    return optax.join_schedules([warmup, after], [warmup_steps])


def momentum(beta: float) -> optax.GradientTransformation:
    """m_t = beta m_(t-1) + (1 - beta) g_t, the paper's rule, not debiased.

    Args:
      beta: decay of the moving average.

    Returns:
      A transformation that replaces g by m.
    """
    return optax.ema(beta, debias=False)


def decays(params: Any) -> Any:
    """Which parameters weight decay applies to: kernels, not biases nor the scales of batch normalisation."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def build_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    clip_norm: float,
    cgm_labels: Labels | None = None,
    cgm_alpha: optax.ScalarOrSchedule = 0.9,
    cgm_eps: float = 1e-8,
    cgm_placement: str = "before",
) -> optax.GradientTransformationExtraArgs:
    """The training chain.

    Args:
      name: one of `OPTIMIZERS`: `adamw`; `adam`, the same without weight decay; `sgd`, with the paper's momentum rule.
      schedule: step -> learning rate.
      b1: decay of the first moment (beta of the paper).
      b2: decay of the second moment, of adamw and adam.
      eps: of adamw and adam.
      weight_decay: decoupled, of adamw; see `decays`.
      clip_norm: bound of the global gradient norm ahead of CGM; 0 for none.
      cgm_labels: which parameters belong to which branch, see `scale_by_cgm`; None for no modulation.
      cgm_alpha: see `scale_by_cgm`.
      cgm_eps: see `scale_by_cgm`.
      cgm_placement: one of `PLACEMENTS`. `before`, the paper's: ahead of the moments. `after`: on the preconditioned
        update, ahead of the weight decay: a learning rate per branch. `decoupled`: in the first moment and not in the
        second; sgd has no second, and `before` is the same there.

    Returns:
      A named chain whose `update` takes `confidence`, which it needs when cgm_labels are given.

    Raises:
      ValueError: an unknown name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer {name!r} is none of {OPTIMIZERS}")
    if cgm_placement not in PLACEMENTS:
        raise ValueError(f"placement {cgm_placement!r} is none of {PLACEMENTS}")
    moments = update_vectors_together(momentum(b1) if name == "sgd" else optax.scale_by_adam(b1, b2, eps))
    chain: list[tuple[str, optax.GradientTransformation]] = []
    if clip_norm > 0:
        chain.append(("clip", optax.clip_by_global_norm(clip_norm)))
    if cgm_labels is None:
        chain.append(("moments", moments))
    elif cgm_placement == "decoupled" and name != "sgd":
        adam = scale_by_adam_with_decoupled_cgm(cgm_labels, b1, b2, eps, alpha=cgm_alpha, cgm_eps=cgm_eps)
        chain.append(("moments", adam))
    else:
        cgm = scale_by_cgm(cgm_labels, cgm_alpha, cgm_eps)
        both = [("cgm", cgm), ("moments", moments)]
        chain += reversed(both) if cgm_placement == "after" else both
    if name == "adamw":
        chain.append(("decay", optax.add_decayed_weights(weight_decay, mask=decays)))
    chain.append(("rate", optax.scale_by_learning_rate(schedule)))
    return optax.with_extra_args_support(optax.named_chain(*chain))
