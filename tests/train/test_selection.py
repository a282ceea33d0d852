"""Which state of a run is tested: the best on validation, the last, or the moving average."""

import json

import jax
import numpy as np
import pytest

from configs.studies.default import smallest
from dcdp_jax.config import check_config
from dcdp_jax.errors import ConfigError, Terminated
from dcdp_jax.report.html import write_report
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.serve.model import load_model
from dcdp_jax.train import build
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.preemption import Termination
from dcdp_jax.train.state import evaluated_state, with_average
from dcdp_jax.train.step import train_steps
from dcdp_jax.train.trainer import train
from tests.e2e.running import read_json
from tests.train.test_seeds import BATCH, PARTS, STATIC, STEPS, batches_of, initial, signals

__all__ = ["signals"]
EPOCHS = 3
DECAY = 0.3  # reached after four steps


def config_of(**fields):
    config = smallest()
    fields = {
        "train.epochs": EPOCHS,
        "data.synthetic.minutes": 2.0,
        "train.batch_size": 32,
        "parallel.devices": 1,
    } | fields
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A finished run with selection `ema`, its config and what it was built of."""
    config = config_of(**{"data.validation": "none", "train.selection": "ema", "train.ema_decay": DECAY})
    run = build.prepare(config)
    workdir = tmp_path_factory.mktemp("ema") / "run"
    train(config, workdir, run)
    return workdir, config, run


def records_of(workdir):
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: x for key, x in record.items() if key not in ("seconds", "windows_per_second")} for record in records]


def restored(workdir, run, seed=0):
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        assert checkpoints.numbers() == [EPOCHS]  # the selected one is the last
        return checkpoints.restore(EPOCHS, like=run.initial_state(seed))


def test_the_average_is_that_of_numpy(signals):
    devices = Devices(1)
    parts = PARTS._replace(settings=PARTS.settings._replace(average_decay=DECAY))
    step = devices.map_step(train_steps, **STATIC | {"parts": lambda _: parts})
    state, on_device = devices.replicate(with_average(initial(0))), devices.replicate(signals)
    expected = jax.tree.map(lambda x: np.asarray(x, np.float64), [initial(0).params, initial(0).batch_stats])
    for i in range(STEPS):
        batch = {name: x[:, i : i + 1] for name, x in batches_of(0).items()}
        state, _ = step(state, on_device, devices.shard({**batch, "count": np.ones(BATCH, np.int32)}), {})
        variables = jax.tree.map(lambda x: np.asarray(x, np.float64), [state.params, state.batch_stats])
        d = min(DECAY, (1 + i) / (10 + i))
        expected = jax.tree.map(lambda old, new, d=d: d * old + (1 - d) * new, expected, variables)
    found = evaluated_state(state)
    for x, wanted in zip(*map(jax.tree.leaves, ([found.params, found.batch_stats], expected)), strict=True):
        np.testing.assert_allclose(x, wanted, atol=1e-6)
    assert np.abs(found.params["fusion"]["kernel"] - state.params["fusion"]["kernel"]).max() > 1e-4


def test_an_evaluation_that_cannot_be_compiled_ends_the_run_before_its_first_step(averaged, tmp_path):
    _, config, run = averaged
    asked = []

    def evaluate(state, split):
        asked.append(len(split.labels))
        raise RuntimeError("no such program")

    with pytest.raises(RuntimeError, match="no such program"):
        train(config, tmp_path / "run", run._replace(evaluate=evaluate))
    assert asked == [1]
    assert records_of(tmp_path / "run") == []


def test_the_average_after_the_last_epoch_is_tested(averaged):
    workdir, _, run = averaged
    result = read_json(workdir / "result.json")
    assert (result["selection"], result["best_epoch"]) == ("ema", EPOCHS)
    state = restored(workdir, run)
    test = run.dataset.splits["test"]
    average = run.evaluate(run.devices.replicate(state), test).tally.scores()
    without = state.replace(average={"params": state.params, "batch_stats": state.batch_stats})
    last = run.evaluate(run.devices.replicate(without), test).tally.scores()
    assert result["test"] == average
    assert average["loss"] != last["loss"]
    used = load_model(workdir).variables
    jax.tree.map(np.testing.assert_array_equal, used, dict(state.average))


def test_without_validation_nothing_speaks_of_it(averaged, capsys):
    workdir, _, _ = averaged
    assert all("validation" not in record for record in records_of(workdir))
    result = read_json(workdir / "result.json")
    assert "validation" not in result
    assert set(result["windows"]) == {"train", "test"}
    page = write_report(workdir).read_text()
    assert "exponential moving average" in page
    assert "<th>Validation" not in page


def test_an_average_interrupted_and_resumed_is_the_same_to_the_bit(averaged, tmp_path, monkeypatch):
    expected, config, run = averaged
    with monkeypatch.context() as patch:
        patch.setattr(Termination, "requested", lambda self, step: step == run.steps_per_epoch + 2)
        with pytest.raises(Terminated):
            train(config, tmp_path / "run", run)
    train(config, tmp_path / "run", run)
    assert records_of(tmp_path / "run") == records_of(expected)
    jax.tree.map(np.testing.assert_array_equal, restored(tmp_path / "run", run), restored(expected, run))


def test_an_epoch_without_a_checkpoint_is_trained_again_to_the_bit(averaged, tmp_path, monkeypatch):
    """Killed in epoch 3 with a checkpoint of epoch 2 alone; terminated in epoch 2, of which epoch 1 left none."""
    expected, config, run = averaged
    config = config.copy_and_resolve_references()
    config.train.checkpoint_every = 2
    steps = run.steps_per_epoch

    def killed(termination, step):
        if step > 2 * steps:
            raise KeyboardInterrupt

    for folder, ended, error in (
        ("killed", killed, KeyboardInterrupt),
        ("terminated", lambda _, step: step == steps + 1, Terminated),
    ):
        workdir = tmp_path / folder
        with monkeypatch.context() as patch:
            patch.setattr(Termination, "requested", ended)
            with pytest.raises(error):
                train(config, workdir, run)
        with Checkpoints(workdir / "checkpoints") as checkpoints:
            assert checkpoints.numbers() == ([2] if folder == "killed" else [])
        train(config, workdir, run)
        assert records_of(workdir) == records_of(expected)
        jax.tree.map(np.testing.assert_array_equal, restored(workdir, run), restored(expected, run))
        assert not (workdir / "interrupted").exists()


def test_the_best_epoch_and_the_last_have_checkpoints_whatever_is_asked_for(tmp_path):
    config = config_of(**{"train.checkpoint_every": 100})
    train(config, tmp_path / "run", build.prepare(config))
    best = read_json(tmp_path / "run" / "result.json")["best_epoch"]
    with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
        assert checkpoints.numbers() == sorted({best, EPOCHS})


def test_the_last_epoch_is_tested(averaged, tmp_path, capsys):
    """With the program of a run that keeps no average, and a validation set."""
    config = config_of(**{"train.selection": "last"})
    run = build.prepare(config)
    train(config, tmp_path / "run", run)
    output = capsys.readouterr().out
    assert f"last epoch {EPOCHS}" in output
    assert "validation loss" in output
    result = read_json(tmp_path / "run" / "result.json")
    state = restored(tmp_path / "run", run)
    assert (result["selection"], result["best_epoch"]) == ("last", EPOCHS)
    for part in ("validation", "test"):
        found = run.evaluate(run.devices.replicate(state), run.dataset.splits[part])
        assert result[part] == found.tally.scores()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train.selection": "first"}, r"train\.selection='first' is not one of best, last, ema"),
        (
            {"data.validation": "none"},
            r"train\.selection='best' chooses an epoch.*validation='none'.*last or ema",
        ),
        ({"train.ema_decay": 1.0}, r"train\.ema_decay=1\.0 is not between 0 and"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        check_config(config_of(**fields))
