"""The wheel outside any checkout: its configs train, and its optimiser package needs jax, optax and jaxtyping alone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import dcdp_jax

ROOT = Path(__file__).parents[2]
UNREACHABLE = ("Could not find a version", "No matching distribution", "Failed to establish", "Temporary failure")
MODULATION = """
import jax, jax.numpy as jnp, optax
from dcdp_jax.optim import scale_by_cgm

params = {"audio": jnp.ones(3), "video": jnp.ones(3), "head": jnp.ones(2)}
tx = optax.chain(scale_by_cgm({"audio": "audio", "video": "video", "head": None}, alpha=0.9), optax.sgd(1e-2))
state = tx.init(params)
confidence = {"audio": jnp.float32(12.0), "video": jnp.float32(4.0)}
updates, state = jax.jit(tx.update)(jax.tree.map(jnp.ones_like, params), state, params, confidence=confidence)
params = optax.apply_updates(params, updates)
print(float(params["audio"][0]), float(params["video"][0]), float(params["head"][0]))
"""
SMALL = (
    "--config.data.synthetic.subjects=5",
    "--config.data.synthetic.minutes=2.0",
    "--config.model.width=2",
    "--config.model.resnet_blocks=(1,)",
    "--config.model.densenet_blocks=(1,)",
    "--config.train.epochs=1",
)


def run(*command, cwd):
    """What a command prints. Packages of this environment, and those of the checkout, are out of its reach."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    finished = subprocess.run(list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def pip(python, *arguments, cwd):
    """Runs pip; skips the test if it reaches no package index."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if finished.returncode and any(text in finished.stderr for text in UNREACHABLE):
        pytest.skip("pip reaches no package index")
    assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the checkout."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "configs", source / "configs", ignore=ignored)
    shutil.copytree(ROOT / "dcdp_jax", source / "dcdp_jax", symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip(sys.executable, "wheel", "--quiet", "--no-deps", "--wheel-dir", target, source, cwd=source)
    (path,) = target.glob("*.whl")
    return path


@pytest.fixture
def environment(tmp_path):
    """The interpreter of an empty virtual environment."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    return tmp_path / "venv" / "bin" / "python"


@pytest.mark.slow
def test_the_wheel_holds_configs_and_templates_and_says_that_it_is_typed(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.py")}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dcdp_jax/report/templates").iterdir()}
    assert {f"dcdp_jax/{name}" for name in configs} | {"dcdp_jax/py.typed"} | templates <= names
    assert not [
        name for name in names if name.split("/")[0] not in ("dcdp_jax", f"dcdp_jax-{dcdp_jax.__version__}.dist-info")
    ]


@pytest.mark.slow
def test_the_optimiser_package_needs_jax_optax_and_jaxtyping_alone(wheel, environment, tmp_path):
    constraints = ROOT / "constraints.txt"
    pip(environment, "install", "--quiet", "-c", constraints, "jax", "optax", "jaxtyping", cwd=tmp_path)
    pip(environment, "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    audio, video, head = map(float, run(environment, "-c", MODULATION, cwd=tmp_path).split())
    assert video == head == pytest.approx(0.99)
    assert 0.99 < audio < 1  # the branch ahead takes the smaller step


@pytest.mark.slow
def test_the_command_trains_in_an_empty_folder(wheel, environment, tmp_path):
    pip(environment, "install", "--quiet", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    (tmp_path / "empty").mkdir()
    run(environment.with_name("dcdp-jax"), "--config=demo", *SMALL, cwd=tmp_path / "empty")
    result = json.loads((tmp_path / "empty" / "runs" / "demo" / "result.json").read_text())
    assert result["versions"]["dcdp_jax"] == dcdp_jax.__version__
    assert result["command"].split()[1] == "--config=demo"
    assert (tmp_path / "empty" / "runs" / "demo" / "report.html").exists()
