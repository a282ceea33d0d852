"""What all tests share: eight fake devices, strict types on demand, and the real recordings where they are."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
# Tests compile the same programs again and again, also in processes that they start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="dcdp_jax-compiled-")
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": COMPILED.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

ROOT = Path(__file__).parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def strict_types():
    """No implicit promotion between dtypes. Not for all tests: optax itself promotes."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="session")
def raw_dir() -> Path:
    """The publishers' folders: DCDP_RAW_DIR, else unpacked once from ../shared/data; skips where there is neither."""
    if folder := os.environ.get("DCDP_RAW_DIR"):
        return Path(folder)
    if not (REAL_DATA / "unpack.py").exists():
        pytest.skip("no real recordings: neither DCDP_RAW_DIR nor ../shared/data")
    sizes = [(path.name, path.stat().st_size) for path in sorted(REAL_DATA.rglob("*")) if path.is_file()]
    key = hashlib.sha256(repr((os.getuid(), sizes)).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"dcdp_jax-raw-{key}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the test run's other workers wait for the one that unpacks
        if not folder.exists():
            unpacking = Path(tempfile.mkdtemp(dir=folder.parent, prefix="dcdp_jax-unpacking-"))
            command = [sys.executable, str(REAL_DATA / "unpack.py"), str(unpacking), "--archives"]
            subprocess.run(command, check=True, capture_output=True)
            unpacking.rename(folder)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The workdir of a finished run of the demo, trained as a user trains it; for reading only."""
    from tests.e2e.running import launch
    from tests.e2e.test_train import ARGUMENTS  # the same run, so that its programs need not be compiled again

    workdir = tmp_path_factory.mktemp("finished") / "run"
    status, _, errors = launch(*ARGUMENTS, f"--workdir={workdir}")
    assert status == 0, errors
    return workdir


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="session")
def data():
    """The `data` part of the finished run's config."""
    from configs import demo

    data = demo.get_config().data
    data.synthetic.subjects, data.synthetic.minutes = 5, 4.0
    return data
