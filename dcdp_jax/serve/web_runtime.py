"""Finds the files of onnxruntime-web, which runs the network in the exported page."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from dcdp_jax.errors import ConfigError

VERSION = "1.30.0"  # of onnxruntime-web
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
RUNTIME = {  # SHA-256 of the files of that version, the smallest of its builds
    MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
VARIABLE = "ONNXRUNTIME_WEB"


def find_runtime() -> dict[str, bytes]:
    """Returns the files of onnxruntime-web, from the folder that `ONNXRUNTIME_WEB` names, else by npm.

    Raises:
      ConfigError: they are not there, npm is not or fails, or a file is not that of the pinned version.
    """
    if folder := os.environ.get(VARIABLE):
        where, files = folder, files_of_folder(Path(folder))
    else:
        where, files = f"onnxruntime-web@{VERSION} of npm", files_of_npm()
    for name, content in files.items():
        if (found := hashlib.sha256(content).hexdigest()) != RUNTIME[name]:
            raise ConfigError(
                f"{where}: {name} has the SHA-256 {found[:12]}, expected {RUNTIME[name][:12]} of version {VERSION}"
            )
    return files


def files_of_folder(folder: Path) -> dict[str, bytes]:
    """Reads the runtime's files from an installed package, node_modules/onnxruntime-web."""
    for name in RUNTIME:
        if not (folder / "dist" / name).is_file():
            raise ConfigError(
                f"{VARIABLE}={folder}: no dist/{name} there; expected the folder node_modules/onnxruntime-web of "
                f"version {VERSION}"
            )
    return {name: (folder / "dist" / name).read_bytes() for name in RUNTIME}


def files_of_npm() -> dict[str, bytes]:
    """Fetches the package by npm, which keeps it in a cache of its own, and returns the runtime's files."""
    otherwise = f"or set {VARIABLE} to an installed node_modules/onnxruntime-web"
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError(
            f"--formats=web needs onnxruntime-web {VERSION}, and npm, which fetches it, is not installed: install "
            f"Node.js, {otherwise}"
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--prefer-offline", "--silent"]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if finished.returncode or not archives:
            said = (finished.stderr.strip() or "no message").splitlines()
            raise ConfigError(
                f"--formats=web needs onnxruntime-web {VERSION}, and npm cannot fetch it ({said[0]}); connect to the "
                f"network, {otherwise}"
            )
        with tarfile.open(archives[0]) as archive:
            return {name: read_member(archive, f"package/dist/{name}") for name in RUNTIME}


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """Returns the content of a file in an archive; raises ConfigError where it is not there."""
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise ConfigError(f"onnxruntime-web {VERSION} of npm holds no {name}")
    return file.read()
