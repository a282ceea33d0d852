"""Tests what clusters do to a run: SIGTERM, other numbers of devices, NaN, several processes of which one is lost."""

import ast
import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import threading
import time

import jax
import numpy as np
import pytest

from configs import demo
from dcdp_jax.errors import NonFiniteError, Terminated
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.train import trainer
from dcdp_jax.train.build import prepare
from dcdp_jax.train.input_pipeline import batches_of
from dcdp_jax.train.preemption import Termination
from dcdp_jax.train.trainer import train
from tests.e2e.running import SMALL, SMALL_DATA, finish, launch, read_json, start, wait_for

pytestmark = pytest.mark.usefixtures("optimized")

EPOCHS, BATCH, LOG_EVERY = 3, 168, 3
IN_PROCESSES = (*SMALL, *SMALL_DATA, "--config.train.epochs=2")
TIMES = ("seconds", "windows_per_second")


def small_config(**fields):
    config = demo.get_config()
    for argument in (*SMALL, *SMALL_DATA):
        name, _, value = argument.removeprefix("--config.").partition("=")
        config.update_from_flattened_dict({name: ast.literal_eval(value) if value != "constant" else value})
    config.update_from_flattened_dict(
        {"train.epochs": EPOCHS, "train.batch_size": BATCH, "data.step": 16, "train.log_every": LOG_EVERY} | fields
    )
    return config


def records_of(workdir):
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in TIMES} for record in records]


def rows_of(workdir):
    with (workdir / "predictions.csv").open(newline="") as file:
        return list(csv.reader(file))


def checkpoint_digests(workdir):
    found = (workdir / "checkpoints").glob("*/check/metadata")
    return {path.parents[1].name: read_json(path)["sha256"] for path in found}


def terminate_after(monkeypatch, step):
    """Lets SIGTERM arrive while this step is taken."""

    def requested(self, now):
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return asks(self, now)

    asks = Termination.requested
    monkeypatch.setattr(Termination, "requested", requested)


@pytest.fixture(scope="module")
def on_eight(tmp_path_factory):
    """Trains on eight devices without an interruption; yields the workdir, the config and what it was made of."""
    workdir = tmp_path_factory.mktemp("eight") / "run"
    config = small_config(**{"parallel.devices": 8})
    run = prepare(config)
    train(config, workdir, run)
    return workdir, config, run


@pytest.fixture(scope="module")
def interrupted(on_eight, tmp_path_factory):
    """The same run, ended by SIGTERM in the middle of its second epoch and between two records."""
    _, config, run = on_eight
    step = run.steps_per_epoch + run.steps_per_epoch // 2
    assert run.steps_per_epoch // 2 % LOG_EVERY
    workdir = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        terminate_after(patch, step)
        with pytest.raises(Terminated) as ended:
            train(config, workdir, run)
    assert ended.value.code == 143
    assert f"after step {step}" in ended.value.message
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    return workdir


def test_terminated_and_resumed_is_the_same_to_the_bit(on_eight, interrupted, tmp_path):
    expected, config, run = on_eight
    workdir = shutil.copytree(interrupted, tmp_path / "run")
    assert [r["kind"] for r in records_of(workdir)].count("epoch") == 1
    train(config, workdir, run)
    assert records_of(workdir) == records_of(expected)
    assert checkpoint_digests(workdir) == checkpoint_digests(expected)
    assert not (workdir / "interrupted").exists()


def test_terminated_twice_in_an_epoch(on_eight, interrupted, tmp_path, monkeypatch):
    expected, config, run = on_eight
    workdir = shutil.copytree(interrupted, tmp_path / "run")
    terminate_after(monkeypatch, run.steps_per_epoch + run.steps_per_epoch // 2 + 1)
    with pytest.raises(Terminated):
        train(config, workdir, run)
    train(config, workdir, run)
    assert records_of(workdir) == records_of(expected)
    assert checkpoint_digests(workdir) == checkpoint_digests(expected)


def test_streamed_terminated_and_resumed_is_the_same_to_the_bit(on_eight, tmp_path, monkeypatch):
    """All of a run, the scores at its end too, from recordings that stay on the host."""
    expected, _, _ = on_eight
    config, workdir = small_config(**{"parallel.devices": 8, "data.stream": True}), tmp_path / "run"
    run = prepare(config)
    assert run.signals.values is run.dataset.signals
    terminate_after(monkeypatch, run.steps_per_epoch + run.steps_per_epoch // 2)
    with pytest.raises(Terminated):
        train(config, workdir, run)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]
    train(config, workdir, run)
    assert records_of(workdir) == records_of(expected)
    assert checkpoint_digests(workdir) == checkpoint_digests(expected)
    found, wanted = (read_json(folder / "result.json") for folder in (workdir, expected))
    for part in ("validation", "test", "branches", "confusion"):
        assert found[part] == wanted[part]
    assert rows_of(workdir) == rows_of(expected)


@pytest.mark.parametrize("devices", [7, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 3))])
def test_saved_on_eight_devices_and_resumed_on_others(devices, on_eight, interrupted, tmp_path):
    expected, _, _ = on_eight
    workdir = shutil.copytree(interrupted, tmp_path / "run")
    train(small_config(**{"parallel.devices": devices}), workdir)
    for found, wanted in zip(records_of(workdir), records_of(expected), strict=True):
        assert found["step"] == wanted["step"]
        if found["kind"] == "step":
            assert found["loss"]["total"] == pytest.approx(wanted["loss"]["total"], abs=1e-5)
    wanted = read_json(expected / "result.json")["test"]["loss"]
    assert read_json(workdir / "result.json")["test"]["loss"] == pytest.approx(wanted, abs=1e-5)


def has_records(workdir):
    """Returns whether a run has logged anything."""
    return (workdir / "metrics.jsonl").exists() and (workdir / "metrics.jsonl").read_text()


def test_sigterm_to_the_command_line(tmp_path):
    workdir = tmp_path / "run"
    arguments = (*SMALL, *SMALL_DATA, "--config.train.epochs=100000", f"--workdir={workdir}")
    process = start(*arguments)
    wait_for(lambda: has_records(workdir), process)
    process.send_signal(signal.SIGTERM)
    status, _, errors = finish(process)
    assert status == 143
    (line,) = errors.strip().splitlines()
    assert "ended by SIGTERM after step" in line
    assert list((workdir / "interrupted").glob("*/check/metadata"))


def with_bad_windows(run, count):
    """The run, with NaN in the samples of some training windows, from the second subject's; and those windows."""
    split = run.dataset.splits["train"]
    rows = np.flatnonzero(split.subjects == np.unique(split.subjects)[1])[:count]
    signals = run.dataset.signals.copy()
    signals[split.starts[rows]] = np.nan
    dataset = dataclasses.replace(run.dataset, signals=signals)
    return run._replace(dataset=dataset, signals=run.signals._replace(values=run.devices.replicate(signals)))


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    # With one stage NaN reaches the gradients and not the loss.
    blocks = {"model.resnet_blocks": (1, 1), "model.densenet_blocks": (1, 1)}
    config = small_config(**{"parallel.devices": 8}, **blocks)
    run = prepare(config)
    workdir = tmp_path / "run"
    bad = with_bad_windows(run, 1)
    with pytest.raises(NonFiniteError, match=r"step \d+: loss\..* is nan.*there is no checkpoint yet") as stopped:
        train(config, workdir, bad)
    report = read_json(workdir / "nonfinite.json")
    assert report["step"] <= run.steps_per_epoch
    assert any(name.startswith("loss.") for name in report["values"])
    assert len(report["windows"]) == BATCH
    named = [window for window in report["windows"] if not window["finite"]]
    split = run.dataset.splits["train"]
    assert 1 <= len(named) <= 4  # the window, and the neighbours that overlap with it
    for window in named:
        assert window["start"] == split.starts[window["row"]]
        assert f"{window['row']} (subject {window['subject']}, start {window['start']})" in str(stopped.value)
    assert not list((workdir / "checkpoints").iterdir())


def test_steps_that_are_not_finite_are_left_out_up_to_a_bound(on_eight, tmp_path, monkeypatch):
    _, config, _ = on_eight
    config = small_config(**{"parallel.devices": 8, "train.skip_nonfinite": 8, "train.epochs": 2})
    bad = with_bad_windows(prepare(config), 1)
    monkeypatch.setattr(trainer, "build_schedule", lambda *_: float)  # logs the number of the update
    train(config, tmp_path / "run", bad)
    epochs = [record for record in records_of(tmp_path / "run") if record["kind"] == "epoch"]
    skipped = [epoch["skipped_steps"] for epoch in epochs]
    assert all(1 <= n < bad.steps_per_epoch for n in skipped)
    steps = [record["steps"] for record in records_of(tmp_path / "run") if record["kind"] == "step"]
    assert sum(steps) + sum(skipped) == 2 * bad.steps_per_epoch
    assert np.isfinite([epoch["train"]["loss"] for epoch in epochs]).all()
    last = [record for record in records_of(tmp_path / "run") if record["kind"] == "step"][-1]
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        rate = checkpoints.restore(2, like=bad.initial_state(0)).opt_state["rate"]
    assert last["learning_rate"] == rate.count - 1  # that of the last update, not of the last step

    with config.unlocked():
        config.train.skip_nonfinite = sum(skipped) - 1
    with pytest.raises(NonFiniteError, match=r"the last good checkpoint is .*checkpoints/1;"):
        train(config, tmp_path / "bounded", bad)


def test_a_step_left_out_changes_nothing_but_the_counter(on_eight):
    _, config, _ = on_eight
    config = small_config(**{"parallel.devices": 8, "train.skip_nonfinite": 8})
    run = prepare(config)
    split = run.dataset.splits["train"]
    batch = batches_of(split, np.arange(BATCH)[None], 1)
    before = jax.device_get(run.initial_state(0))
    nothing = run.signals._replace(values=run.devices.replicate(run.dataset.signals * np.nan))
    after, metrics = run.step(run.devices.replicate(before), nothing, run.devices.shard(batch), {})
    assert not metrics["finite"]
    assert int(after.step) == 1
    jax.tree.map(np.testing.assert_array_equal, after.replace(step=0), before.replace(step=0))
    after, metrics = run.step(run.devices.replicate(before), run.signals, run.devices.shard(batch), {})
    assert metrics["finite"]
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (after.params, before.params)), strict=True))


def start_two(workdir, *arguments):
    """Two processes with two devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = (
        "--config.parallel.distributed=True",
        f"--config.parallel.coordinator=127.0.0.1:{port}",
        "--config.parallel.processes=2",
        f"--workdir={workdir}",
        *arguments,
    )
    environment = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    return [start(*together, f"--config.parallel.process_id={i}", **environment) for i in (0, 1)]


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path):
    one = tmp_path / "one"
    status, _, errors = launch(*IN_PROCESSES, f"--workdir={one}", JAX_NUM_CPU_DEVICES="4")
    assert status == 0, errors
    for process in start_two(tmp_path / "two", *IN_PROCESSES):
        status, _, errors = finish(process)
        assert status == 0, errors
    for found, wanted in zip(records_of(tmp_path / "two"), records_of(one), strict=True):
        if found["kind"] == "step":
            assert found["loss"]["total"] == pytest.approx(wanted["loss"]["total"], abs=1e-5)
    results = [read_json(folder / "result.json") for folder in (tmp_path / "two", one)]
    assert results[0]["device"] == results[1]["device"] == "4 x cpu (cpu)"
    assert results[0]["confusion"] == results[1]["confusion"]
    for part in ("test", "validation"):
        assert results[0][part] == pytest.approx(results[1][part], abs=1e-5)
    rows = [rows_of(folder) for folder in (tmp_path / "two", one)]
    assert [row[:5] for row in rows[0]] == [row[:5] for row in rows[1]]
    found, wanted = (np.array([row[5:] for row in read[1:]], float) for read in rows)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
def test_a_lost_process_ends_the_other_and_is_named(tmp_path):
    workdir = tmp_path / "run"
    long = (*SMALL, *SMALL_DATA, "--config.train.epochs=100000", "--config.parallel.strategy=jit")
    first, second = start_two(workdir, *long)
    wait_for(lambda: has_records(workdir), first)
    second.kill()
    killed = time.monotonic()
    status, _, errors = finish(first)
    assert time.monotonic() - killed < 60
    assert status not in (0, 2)
    # Which of the two JAX writes depends on whether this process waited for the other already.
    assert re.search(r"Task 1 heartbeat timeout|stopped sending heartbeats\):\n1\n", errors), errors
    second.communicate()
