"""Prediction with a trained model: on files, on a live stream, and exported to other formats."""
