"""CGM, related methods and the optimiser chain. Imports JAX, optax and jaxtyping, and no other part of this package."""

from dcdp_jax.optim.arl import ScaleByARLState, arl_coefficients, scale_by_arl
from dcdp_jax.optim.average import AverageStatisticsState, average_statistics
from dcdp_jax.optim.branches import branch_names, label_tree, scale_branches
from dcdp_jax.optim.cggm import ScaleByCGGMState, cggm_coefficients, scale_by_cggm
from dcdp_jax.optim.cgm import ScaleByCGMState, contribution_ratios, modulation_coefficients, scale_by_cgm
from dcdp_jax.optim.chain import build_optimizer, learning_rate_schedule, momentum
from dcdp_jax.optim.confidence import (
    batch_statistics,
    branch_accuracy,
    logit_magnitude,
    prediction_entropy,
    true_class_confidence,
)
from dcdp_jax.optim.decoupled import ScaleByAdamWithDecoupledCGMState, scale_by_adam_with_decoupled_cgm
from dcdp_jax.optim.inforeg import ScaleByInfoRegState, scale_by_inforeg
from dcdp_jax.optim.inspect import coefficients_of, norms_of, statistics_of, with_key
from dcdp_jax.optim.methods import METHODS, Method, add_method
from dcdp_jax.optim.mmpareto import CombineByMMParetoState, combine_by_mmpareto, min_norm_weight
from dcdp_jax.optim.ogm import ScaleByOGMState, ogm_coefficients, scale_by_ogm
from dcdp_jax.optim.rank import ScaleByRankState, rank_coefficients, scale_by_rank
from dcdp_jax.optim.shuffled import ScaleByShuffledCGMState, scale_by_shuffled_cgm

# Short aliases of the states, part of the public interface.
CGGMState = ScaleByCGGMState
CGMState = ScaleByCGMState
DecoupledCGMState = ScaleByAdamWithDecoupledCGMState
MMParetoState = CombineByMMParetoState
OGMState = ScaleByOGMState

__all__ = [
    "METHODS",
    "AverageStatisticsState",
    "CGGMState",
    "CGMState",
    "CombineByMMParetoState",
    "DecoupledCGMState",
    "MMParetoState",
    "Method",
    "OGMState",
    "ScaleByARLState",
    "ScaleByAdamWithDecoupledCGMState",
    "ScaleByCGGMState",
    "ScaleByCGMState",
    "ScaleByInfoRegState",
    "ScaleByOGMState",
    "ScaleByRankState",
    "ScaleByShuffledCGMState",
    "add_method",
    "arl_coefficients",
    "average_statistics",
    "batch_statistics",
    "branch_accuracy",
    "branch_names",
    "build_optimizer",
    "cggm_coefficients",
    "coefficients_of",
    "combine_by_mmpareto",
    "contribution_ratios",
    "label_tree",
    "learning_rate_schedule",
    "logit_magnitude",
    "min_norm_weight",
    "modulation_coefficients",
    "momentum",
    "norms_of",
    "ogm_coefficients",
    "prediction_entropy",
    "rank_coefficients",
    "scale_branches",
    "scale_by_adam_with_decoupled_cgm",
    "scale_by_arl",
    "scale_by_cggm",
    "scale_by_cgm",
    "scale_by_inforeg",
    "scale_by_ogm",
    "scale_by_rank",
    "scale_by_shuffled_cgm",
    "statistics_of",
    "true_class_confidence",
    "with_key",
]
