"""What a run leaves in its folder: the names, schemas, reading and writing of every file."""
