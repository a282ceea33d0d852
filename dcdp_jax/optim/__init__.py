"""CGM, its relatives and the optimiser chain; usable without the rest of the package."""

from dcdp_jax.optim.branches import scale_branches
from dcdp_jax.optim.cggm import CGGMState, cggm_coefficients, scale_by_cggm
from dcdp_jax.optim.cgm import CGMState, contribution_ratios, modulation_coefficients, scale_by_cgm
from dcdp_jax.optim.chain import build_optimizer, learning_rate_schedule, momentum
from dcdp_jax.optim.decoupled import DecoupledCGMState, scale_by_adam_with_decoupled_cgm
from dcdp_jax.optim.inspect import coefficients_of, norms_of
from dcdp_jax.optim.mmpareto import MMParetoState, combine_by_mmpareto, min_norm_weight
from dcdp_jax.optim.ogm import OGMState, ogm_coefficients, scale_by_ogm

__all__ = [
    "CGGMState",
    "CGMState",
    "DecoupledCGMState",
    "MMParetoState",
    "OGMState",
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
]
