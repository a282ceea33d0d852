"""Recordings, protocols, windows. NumPy only; knows nothing of models."""

from dcdp_jax.data.loading import load_recordings
from dcdp_jax.data.recording import Channel, Recording

__all__ = ["Channel", "Recording", "load_recordings"]
