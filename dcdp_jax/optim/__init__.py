"""CGM and the optimiser chain; usable without the rest of the package."""

from dcdp_jax.optim.cgm import (
    CGMState,
    contribution_ratios,
    modulation_coefficients,
    scale_branches,
    scale_by_cgm,
)
from dcdp_jax.optim.chain import build_optimizer, learning_rate_schedule, momentum

__all__ = [
    "CGMState",
    "build_optimizer",
    "contribution_ratios",
    "learning_rate_schedule",
    "modulation_coefficients",
    "momentum",
    "scale_branches",
    "scale_by_cgm",
]
