"""Errors that a user can cause; the command line prints them as one line and exits with status 2."""


class UserError(Exception):
    """Something outside the program is wrong; the message says what came, what was expected, what to do."""


class ConfigError(UserError):
    """A config field has a value that cannot be used."""


class DataError(UserError):
    """A data file is missing, damaged or not what its publisher ships."""


class CheckpointError(UserError):
    """A workdir or checkpoint cannot be used."""
