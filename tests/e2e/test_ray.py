"""A study on a real Ray cluster of two nodes through the command line: one is killed, the table is complete."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, launch, read_json, start

pytest.importorskip("ray")

STUDY = """
from configs.studies import default

def get_config():
    config = default.get_config()
    config.study.quick = True
    config.study.engine = "ray"
    synthetic = config.quick.datasets.synthetic
    synthetic.train.epochs = EPOCHS
    synthetic.model.resnet_blocks = synthetic.model.densenet_blocks = (1,)
    rows = {"none": {"cgm.enabled": False}, "CGM": {}}
    config.study.stages = (default.stage("", rows),)
    return config
"""
EPOCHS = 12


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(STUDY.replace("EPOCHS", str(EPOCHS)))
    return path


@pytest.fixture
def cluster():
    """The process of tests/e2e/two_nodes.py, its address, and the second node's raylet."""
    command = [sys.executable, "-m", "tests.e2e.two_nodes"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        about = json.loads(process.stdout.readline())
        yield process, about["address"], about["raylet"]
        process.stdin.close()
        process.wait(60)


def descendants(pid):
    """Processes below a process."""
    below = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    return below + [pid for child in below for pid in descendants(child)]


def group_on(raylet):
    """The process that trains a group on a node, and the group's file; None where there is none yet."""
    for pid in descendants(raylet):
        arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "dcdp_jax.studies.worker" in arguments:
            return pid, Path(arguments[-2])
    return None


def wait_for(condition, process, seconds=200):
    """What a condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def trials_of(file):
    return [Path(trial["folder"]) for trial in read_json(file)["trials"]]


def test_a_killed_node(cluster, study_file, tmp_path):
    nodes, address, raylet = cluster
    folder = tmp_path / "run"
    arguments = (f"--workdir={folder}", f"--config.study.address={address}")
    process = start(*arguments, config=study_file, PYTHONPATH=str(ROOT))
    worker, group = wait_for(lambda: group_on(raylet), process)
    done, running = trials_of(group)
    wait_for(lambda: (done / "result.json").exists() and (running / "checkpoints" / "1").exists(), process)
    written = (done / "result.json").stat().st_mtime_ns
    assert not (running / "result.json").exists()

    nodes.stdin.write("kill\n")
    nodes.stdin.flush()
    assert nodes.stdout.readline() == "killed\n"
    wait_for(lambda: not Path(f"/proc/{worker}").exists(), process, 3)  # or two would write into one folder

    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    table = (folder / "tables" / "synthetic.md").read_text()
    assert "trials failed" not in output
    assert all(f"| {row} | 2 |" in table for row in ("none", "CGM")), table
    assert (done / "result.json").stat().st_mtime_ns == written
    starts = group.with_suffix(".log").read_text().split("process ")[1:]
    assert len(starts) == 2
    assert "resuming after epoch" in starts[1]
    epochs = [r["epoch"] for r in map(json.loads, (running / "metrics.jsonl").open()) if r["kind"] == "epoch"]
    assert epochs == list(range(1, EPOCHS + 1))


def test_what_the_cluster_has_not(cluster, study_file, tmp_path):
    _, address, _ = cluster
    asked = (f"--config.study.address={address}", "--config.study.gpus_per_group=1", f"--workdir={tmp_path / 'run'}")
    status, _, errors = launch(*asked, config=study_file, PYTHONPATH=str(ROOT))
    assert status == 2
    assert "no machine of the Ray cluster has as many: 1 and 0, 1 and 0" in errors
