"""Tests a study on a real Ray cluster of two nodes through the command line: one is killed, the table is complete."""

import json
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import (
    ROOT,
    WAIT_SECONDS,
    Hold,
    children_of,
    environment_of_users,
    finish,
    is_running,
    read_json,
    start,
    wait_for,
)

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

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
EPOCHS = 4
# A cluster runs what anyone sends it who has its token, and one without a token what anyone sends.
ONLY_US = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the study, with its config beside it."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "small.py").write_text(STUDY.replace("EPOCHS", str(EPOCHS)))
    return folder / "run"


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The gate at which every first seed waits in the middle of its training."""
    return Hold(tmp_path_factory.mktemp("gate") / "gate", "*-seed0-*/checkpoints/2/files.json")


@pytest.fixture(scope="module")
def cluster(gate):
    """The process of tests/e2e/two_nodes.py, its address, and the second node's raylet."""
    command = [sys.executable, "-m", "tests.e2e.two_nodes"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = environment_of_users() | ONLY_US | gate.environment
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        about = json.loads(process.stdout.readline())
        yield process, about["address"], about["raylet"]
        process.stdin.close()
        process.wait(WAIT_SECONDS)


def start_study(folder, address, *arguments):
    arguments = (f"--workdir={folder}", f"--config.study.address={address}", *arguments)
    return start(*arguments, config=folder.with_name("small.py"), PYTHONPATH=str(ROOT), **ONLY_US)


def job_on(raylet):
    """Returns the process that trains a job on a node, and the job's file; None where there is none yet."""
    for pid in children_of(raylet):
        arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "dcdp_jax.studies.worker" in arguments:
            return pid, Path(arguments[-2])
    return None


def trials_of(file):
    return [Path(trial["folder"]) for trial in read_json(file)["trials"]]


def test_no_cluster(folder):
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
        _, _, errors = finish(start_study(folder, address))
    assert errors.startswith(f"error: study.address='{address}': no Ray cluster can be joined there")


def test_more_than_the_cluster_has(cluster, folder):
    _, address, _ = cluster
    status, _, errors = finish(start_study(folder, address, "--config.study.gpus_per_group=1"))
    assert status == 2
    assert "no machine of the Ray cluster has as many: 1 and 0, 1 and 0" in errors


def test_sigterm(cluster, gate, folder):
    _, address, raylet = cluster
    process = start_study(folder, address)
    worker, job = wait_for(lambda: job_on(raylet), process)
    trial, _ = trials_of(job)
    wait_for(lambda: trial / "checkpoints" / "2" / "files.json" in gate.reached(), process)
    process.send_signal(signal.SIGTERM)
    status, _, errors = finish(process)
    assert status == 143
    assert "error: ended by SIGTERM" in errors
    assert not is_running(worker)
    assert list((trial / "interrupted").glob("*/check/metadata"))
    assert not list(folder.glob("trials/*/error.txt"))


def test_a_killed_node(cluster, gate, folder):
    nodes, address, raylet = cluster
    gate.close("*-seed1-*/checkpoints/2/files.json")
    process = start_study(folder, address)
    worker, job = wait_for(lambda: job_on(raylet), process)
    done, running = trials_of(job)
    wait_for(lambda: running / "checkpoints" / "2" / "files.json" in gate.reached(), process)
    written = (done / "result.json").stat().st_mtime_ns
    assert not (running / "result.json").exists()
    log = job.with_suffix(".log")
    starts = log.read_text().count("process ")

    nodes.stdin.write("kill\n")
    nodes.stdin.flush()
    assert nodes.stdout.readline() == "killed\n"
    wait_for(lambda: not is_running(worker), process)
    assert log.read_text().count("process ") == starts  # or two would write into one folder

    gate.open()
    status, output, errors = finish(process)
    assert status == 0, errors
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
