"""The benchmark for GPUs, run to its end on CPU with a tiny network; where PyTorch is missing its contenders fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(out, *arguments):
    command = [sys.executable, "benchmarks/gpu.py", "--small", "--seconds", "0.1", "--out", str(out), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, timeout=500
    )


@pytest.mark.slow
def test_runs_to_its_end_and_keeps_every_stage(tmp_path):
    done = run(tmp_path, "--minutes", "7", "--at-once", "2", "--only", "t30", "tf32")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "stages.jsonl").read_text().splitlines()]
    ours = {line["stage"]: line for line in lines if line["contender"]["kind"] == "jax"}
    assert ours.keys() == {"ready", "times", "memory", "kernels"}
    assert all(ours["ready"][phase] > 0 for phase in ("import", "initial state", "trace", "compile", "first steps"))
    assert min(ours["times"]["ms"]) > 0
    assert sum(ours["kernels"]["kernels"].values()) > 100
    assert ours["kernels"]["kernels"]["optimiser"] > 0
    assert ours["kernels"]["kernels"]["normalisation"] > 0
    theirs = {line["contender"]["mode"]: line["stage"] for line in lines if line["contender"]["kind"] == "torch"}
    assert theirs.keys() == {"eager", "compile", "graphs"}
    table = (tmp_path / "table.md").read_text()
    assert table in done.stdout
    assert all(f"PyTorch t30 tf32 {mode}" in table for mode in theirs)


def test_the_time_is_kept_and_what_does_not_fit_is_named(tmp_path):
    # No machine imports JAX and compiles a step in three seconds.
    done = run(tmp_path, "--minutes", "0.05", "--at-once", "1", "--only", "dcdp_jax")
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "table.md").read_text()
    assert "cut by the end of the time" in done.stdout
    assert table.count("skipped: no time left") > 15


def test_an_unknown_flag_stops_its_contender_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_no_such_flag=true")
    done = run(tmp_path, "--minutes", "2", "--only", "ceilings")
    assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "stages.jsonl").read_text().splitlines()[-1])
    assert line["stage"] == "failed"
    assert "xla_no_such_flag" in line["why"]


def test_code_that_cannot_be_imported_is_said_before_anything_is_timed(tmp_path):
    worker = tmp_path / "before" / "benchmarks" / "jax_worker.py"
    worker.parent.mkdir(parents=True)
    worker.write_text("import no_such_package\n")
    done = run(tmp_path / "out", "--minutes", "2", "--before", str(tmp_path / "before"))
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'before'}: ModuleNotFoundError: No module named 'no_such_package'\n"
    assert not (tmp_path / "out").exists()
