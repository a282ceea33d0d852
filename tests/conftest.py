"""Fixtures that all tests share: eight fake devices, strict types on demand, and the real recordings where they are."""

import contextlib
import fcntl
import gc
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Compiling was half of what tests took, so XLA optimizes little in the tests and their child processes. What
# tests/e2e/running.py starts is compiled as for users, and with the fixture `optimized` at the usual level.
FAST_COMPILATION = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
if version("jaxlib").startswith("0.10."):  # later versions abort at this flag
    FAST_COMPILATION["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"
os.environ |= {name: os.environ.get(name, value) for name, value in FAST_COMPILATION.items()}

import jax  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
# Tests compile the same programs again and again, also in processes that they start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="dcdp_jax-compiled-")
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": COMPILED.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# No limit of time: other work on the machine is no failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"


def pytest_addoption(parser):
    parser.addoption("--require-extras", action="store_true", help="a skipped test with the mark `extra` fails")


# Modules of tests that take minutes, the longest first.
LONGEST = ("test_bench.py", "test_ray.py", "test_paper_tables.py", "test_mutations.py")


def pytest_collection_modifyitems(items):
    """Puts these modules first, then whole runs, so that none of them keeps one worker busy at the end, others idle."""

    def place(item):
        is_long = item.path.name in LONGEST
        return LONGEST.index(item.path.name) if is_long else len(LONGEST) + ("e2e" not in item.path.parts)

    items.sort(key=place)


def pytest_collection_finish():
    """Spares every later collection of garbage what was imported, which is most of what there is to look at."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.skipped and item.config.getoption("require_extras") and item.get_closest_marker("extra"):
        report.outcome, report.longrepr = "failed", f"skipped with --require-extras: {report.longrepr}"
    return report


@pytest.fixture(scope="module", autouse=True)
def free_programs():
    """Frees what a module's tests have compiled: each program has memory maps, and Linux allows a process 65,530."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def optimized():
    """Lets XLA optimize what a module compiles, as sums are less exact without; the flag in XLA_FLAGS stays."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def strict_types():
    """No implicit promotion between dtypes. Not for all tests: optax itself promotes."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def one_thread():
    """One thread for OpenMP and BLAS: threads that wait for each other take minutes on a busy machine."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1):
        yield


def shared_folder(tmp_path_factory):
    """Returns a temporary folder that all workers of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextlib.contextmanager
def one_at_a_time(folder: Path):
    """Lets one worker at a time make a folder that all of them use."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
    with one_at_a_time(folder):
        if not folder.exists():
            unpacking = Path(tempfile.mkdtemp(dir=folder.parent, prefix="dcdp_jax-unpacking-"))
            command = [sys.executable, str(REAL_DATA / "unpack.py"), str(unpacking), "--archives"]
            subprocess.run(command, check=True, capture_output=True)
            unpacking.rename(folder)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The workdir of a finished run of the demo, trained as a user trains it; for reading only.

    One worker of the test run trains it, and each has a copy. What the command printed is in output.txt beside it.
    """
    from tests.e2e.running import ARGUMENTS, launch

    own, shared = tmp_path_factory.getbasetemp(), shared_folder(tmp_path_factory)
    with one_at_a_time(shared / "trained"):
        if not (shared / "trained" / "output.txt").exists():
            status, output, errors = launch(*ARGUMENTS, f"--workdir={shared / 'trained' / 'run'}")
            assert status == 0, errors
            (shared / "trained" / "output.txt").write_text(output)
    return shutil.copytree(shared / "trained", own / "finished") / "run"


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
