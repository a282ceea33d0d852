"""Using a trained model: on files, on a stream, and elsewhere."""
