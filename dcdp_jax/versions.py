"""Versions of installed packages, for the files of a run."""

from importlib import metadata

from dcdp_jax import __version__

UNKNOWN = "unknown"


def version_of(package: str) -> str:
    """Returns the version of a package; `UNKNOWN` for one that is installed without metadata, or not at all.

    >>> version_of("dcdp_jax") == __version__
    True
    >>> version_of("no-such-package")
    'unknown'
    """
    if package == "dcdp_jax":
        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return UNKNOWN
