"""Recordings, protocols and windows, in NumPy only; nothing here knows of models."""

from dcdp_jax.data.prepared import load_recordings
from dcdp_jax.data.recording import Channel, Recording
from dcdp_jax.data.windows import Windows, make_windows

__all__ = ["Channel", "Recording", "Windows", "load_recordings", "make_windows"]
