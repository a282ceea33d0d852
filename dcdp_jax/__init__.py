"""DCDP-HAR in JAX: dual-path human activity recognition with confidence-driven gradient modulation."""

__version__ = "0.1.0"
