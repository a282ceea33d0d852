"""A study on a real Ray cluster of two nodes through the command line: one is killed, the table is complete."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, read_json, start

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
EPOCHS = 20
# A cluster runs what anyone sends it who has its token, and one without a token what anyone sends.
ONLY_US = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the study, with its config beside it."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "small.py").write_text(STUDY.replace("EPOCHS", str(EPOCHS)))
    return folder / "run"


@pytest.fixture(scope="module")
def cluster():
    """The process of tests/e2e/two_nodes.py, its address, and the second node's raylet."""
    command = [sys.executable, "-m", "tests.e2e.two_nodes"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | ONLY_US, **pipes) as process:
        about = json.loads(process.stdout.readline())
        yield process, about["address"], about["raylet"]
        process.stdin.close()
        process.wait(60)


def start_study(folder, address, *arguments):
    arguments = (f"--workdir={folder}", f"--config.study.address={address}", *arguments)
    return start(*arguments, config=folder.with_name("small.py"), PYTHONPATH=str(ROOT), **ONLY_US)


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


def runs(pid):
    """Whether a process is there, and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


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


def test_no_cluster(folder):
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
        _, errors = start_study(folder, address).communicate(timeout=100)
    assert errors.startswith(f"error: study.address='{address}': no Ray cluster can be joined there")


def test_more_than_the_cluster_has(cluster, folder):
    _, address, _ = cluster
    process = start_study(folder, address, "--config.study.gpus_per_group=1")
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "no machine of the Ray cluster has as many: 1 and 0, 1 and 0" in errors


def test_sigterm(cluster, folder):
    _, address, raylet = cluster
    process = start_study(folder, address)
    worker, group = wait_for(lambda: group_on(raylet), process)
    trial, _ = trials_of(group)
    wait_for(lambda: (trial / "checkpoints" / "1").exists(), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 143
    assert "error: ended by SIGTERM" in errors
    assert not runs(worker)
    assert list((trial / "interrupted").glob("*/check/metadata"))
    assert not list(folder.glob("trials/*/error.txt"))


def test_a_killed_node(cluster, folder):
    nodes, address, raylet = cluster
    process = start_study(folder, address)
    worker, group = wait_for(lambda: group_on(raylet), process)
    done, running = trials_of(group)
    wait_for(lambda: (done / "result.json").exists() and (running / "checkpoints" / "1").exists(), process)
    written = (done / "result.json").stat().st_mtime_ns
    assert not (running / "result.json").exists()
    log = group.with_suffix(".log")
    starts = log.read_text().count("process ")

    nodes.stdin.write("kill\n")
    nodes.stdin.flush()
    assert nodes.stdout.readline() == "killed\n"
    wait_for(lambda: not runs(worker), process, 5)  # or two would write into one folder

    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "trials failed" not in output
    table = (folder / "tables" / "synthetic.md").read_text()
    assert all(f"| {row} | 2 |" in table for row in ("none", "CGM")), table
    assert (done / "result.json").stat().st_mtime_ns == written
    *before, last = log.read_text().split("process ")[1:]
    assert len(before) == starts
    assert "resuming after epoch" in last
    records = map(json.loads, (running / "metrics.jsonl").read_text().splitlines())
    epochs = [record["epoch"] for record in records if record["kind"] == "epoch"]
    assert epochs == list(range(1, EPOCHS + 1))
