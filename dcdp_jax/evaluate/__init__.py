"""Evaluation of finished runs: scores again, robustness, portability."""
