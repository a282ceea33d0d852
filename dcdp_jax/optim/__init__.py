"""CGM, its relatives and the optimiser chain; needs JAX, optax and jaxtyping, and nothing else of this package."""

from dcdp_jax.optim.branches import scale_branches
from dcdp_jax.optim.cggm import ScaleByCGGMState, cggm_coefficients, scale_by_cggm
from dcdp_jax.optim.cgm import ScaleByCGMState, contribution_ratios, modulation_coefficients, scale_by_cgm
from dcdp_jax.optim.chain import build_optimizer, learning_rate_schedule, momentum
from dcdp_jax.optim.confidence import true_class_confidence
from dcdp_jax.optim.decoupled import ScaleByAdamWithDecoupledCGMState, scale_by_adam_with_decoupled_cgm
from dcdp_jax.optim.inspect import coefficients_of, norms_of
from dcdp_jax.optim.mmpareto import CombineByMMParetoState, combine_by_mmpareto, min_norm_weight
from dcdp_jax.optim.ogm import ScaleByOGMState, ogm_coefficients, scale_by_ogm

# Other names of the states.
CGGMState = ScaleByCGGMState
CGMState = ScaleByCGMState
DecoupledCGMState = ScaleByAdamWithDecoupledCGMState
MMParetoState = CombineByMMParetoState
OGMState = ScaleByOGMState

__all__ = [
    "CGGMState",
    "CGMState",
    "CombineByMMParetoState",
    "DecoupledCGMState",
    "MMParetoState",
    "OGMState",
    "ScaleByAdamWithDecoupledCGMState",
    "ScaleByCGGMState",
    "ScaleByCGMState",
    "ScaleByOGMState",
    "build_optimizer",
    "cggm_coefficients",
    "coefficients_of",
    "combine_by_mmpareto",
    "contribution_ratios",
    "learning_rate_schedule",
    "min_norm_weight",
    "modulation_coefficients",
    "momentum",
    "norms_of",
    "ogm_coefficients",
    "scale_branches",
    "scale_by_adam_with_decoupled_cgm",
    "scale_by_cggm",
    "scale_by_cgm",
    "scale_by_ogm",
    "true_class_confidence",
]
