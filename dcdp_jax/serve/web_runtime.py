"""Finds the files of onnxruntime-web, which runs the network in the exported page."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from dcdp_jax.errors import ConfigError
from dcdp_jax.runs.files import sha256

VERSION = "1.30.0"  # of onnxruntime-web
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
RUNTIME = {  # SHA-256 of the files of that version, the smallest of its builds
    MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
VARIABLE = "ONNXRUNTIME_WEB"


def find_runtime() -> dict[str, bytes]:
    """Returns the files of onnxruntime-web, from the folder that `ONNXRUNTIME_WEB` names, else by npm.

    Raises ConfigError where they are missing, npm is missing or fails, or a file is not that of the pinned version.
    """
    with tempfile.TemporaryDirectory() as temporary:
        given = os.environ.get(VARIABLE)
        where = f"{VARIABLE}={given}" if given else f"onnxruntime-web@{VERSION} of npm"
        folder = Path(given) if given else unpacked_by_npm(Path(temporary))
        files = {}
        for name, digest in RUNTIME.items():
            if not (folder / "dist" / name).is_file():
                expected = f"the folder node_modules/onnxruntime-web of version {VERSION}"
                raise ConfigError(f"{where}: no dist/{name} there; expected {expected}")
            files[name] = (folder / "dist" / name).read_bytes()
            if (found := sha256(files[name])) != digest:
                raise ConfigError(
                    f"{where}: {name} has the SHA-256 {found[:12]}, expected {digest[:12]} of version {VERSION}"
                )
        return files


def unpacked_by_npm(folder: Path) -> Path:
    """Fetches the package by npm, which keeps it in a cache of its own, and unpacks the runtime's files in a folder."""
    otherwise = f"or set {VARIABLE} to an installed node_modules/onnxruntime-web"
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError(
            f"--formats=web needs onnxruntime-web {VERSION}, and npm, which fetches it, is not installed: install "
            f"Node.js, {otherwise}"
        )
    command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--prefer-offline", "--silent"]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if finished.returncode or not archives:
        said = (finished.stderr.strip() or "no message").splitlines()
        raise ConfigError(
            f"--formats=web needs onnxruntime-web {VERSION}, and npm cannot fetch it ({said[0]}); connect to the "
            f"network, {otherwise}"
        )
    wanted = [f"package/dist/{name}" for name in RUNTIME]
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, [member for member in archive if member.name in wanted], filter="data")
    return folder / "package"
