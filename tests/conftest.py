"""What all tests share: eight fake devices, strict types on demand, and the real recordings where they are."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
# Tests compile the same programs again and again, also in processes that they start.
COMPILED = tempfile.TemporaryDirectory(prefix="dcdp_jax-compiled-")
os.environ |= {"JAX_COMPILATION_CACHE_DIR": COMPILED.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
jax.config.update("jax_compilation_cache_dir", COMPILED.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

ROOT = Path(__file__).parents[1]
REAL_DATA = ROOT.parent / "shared" / "data" / "unpack.py"


@pytest.fixture
def strict_types():
    """No implicit promotion between dtypes. Not for all tests: optax itself promotes."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="session")
def raw_dir(tmp_path_factory) -> Path:
    """The publishers' folders: DCDP_RAW_DIR, else unpacked from ../shared/data; skips where there is neither."""
    if folder := os.environ.get("DCDP_RAW_DIR"):
        return Path(folder)
    if not REAL_DATA.exists():
        pytest.skip("no real recordings: neither DCDP_RAW_DIR nor ../shared/data")
    folder = tmp_path_factory.mktemp("raw")
    subprocess.run([sys.executable, str(REAL_DATA), str(folder)], check=True, capture_output=True)
    return folder
