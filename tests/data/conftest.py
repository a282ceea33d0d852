"""Hypothesis without a time limit per example: other work on the machine is no failure."""

from hypothesis import settings

settings.register_profile("dcdp_jax", deadline=None)
settings.load_profile("dcdp_jax")
