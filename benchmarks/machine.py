"""What a figure was measured on: machine, versions, commit, date."""

import datetime
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version


def describe(*packages: str) -> str:
    """One line for under a table."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            processor = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} absent")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return (
        f"{processor}, {os.cpu_count()} cores; Python {platform.python_version()}, {', '.join(versions)}; "
        f"commit {commit}; {datetime.date.today()}"
    )
