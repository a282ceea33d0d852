"""Errors that a user can cause; the command line prints them as one line and exits with status 2."""


class UserError(Exception):
    """A fault outside the program. The message is one line: what was found, what was expected and what to do."""


class ConfigError(UserError):
    """A config field has a value that cannot be used."""


class DataError(UserError):
    """A data file is missing, damaged or not what its publisher ships."""


class CheckpointError(UserError):
    """A workdir or checkpoint cannot be used."""


class ExportError(UserError):
    """An exported model does not answer as the trained one does."""


class NonFiniteError(UserError):
    """A loss or a gradient is NaN or infinite."""


class Terminated(SystemExit):
    """The end of a process that received SIGTERM and has saved its state, with a line to print and SIGTERM's status."""

    STATUS = 128 + 15

    def __init__(self, message: str) -> None:
        super().__init__(self.STATUS)
        self.message = message
