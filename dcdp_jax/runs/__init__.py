"""The files of a run: their names and schemas, and how they are read and written."""
