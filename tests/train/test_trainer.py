"""Runs trained at once: files and numbers are those of single runs, also when interrupted, and one may fail alone."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from configs.studies.default import smallest
from dcdp_jax.errors import NonFiniteError, Terminated
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.train import trainer
from dcdp_jax.train.build import prepare
from dcdp_jax.train.epoch import Epoch
from dcdp_jax.train.messages import data_lines
from dcdp_jax.train.preemption import Termination
from dcdp_jax.train.trainer import train, train_runs
from tests.e2e.running import read_json

pytestmark = pytest.mark.usefixtures("optimized")

SEEDS, EPOCHS, LOG_EVERY = (0, 1), 3, 3
TIMES = ("seconds", "windows_per_second")
# Scores count windows, of which an other order of a sum moves one at most; losses and probabilities are smooth.
UNREAD = "augment.time_warp_knots=5 is not used with augment.enabled=False"
ONE_WINDOW, SMOOTH = 0.02, 1e-3


def config_of(seed):
    config = smallest()
    fields = {"seed": seed, "train.epochs": EPOCHS, "train.log_every": LOG_EVERY, "data.synthetic.minutes": 2.0}
    # The same rate whatever the number of epochs.
    fields |= {"optimizer.schedule": "constant", "optimizer.warmup_fraction": 0.0, "optimizer.learning_rate": 0.02}
    # With 1e-8 Adam makes whole steps of gradients that are 0 but for rounding.
    fields |= {"train.batch_size": 32, "parallel.devices": 1, "optimizer.eps": 1e-4, "augment.time_warp_knots": 5}
    config.update_from_flattened_dict(fields)
    return config


def trials_in(folder):
    return [(config_of(seed), folder / str(seed)) for seed in SEEDS]


def never(workdir, error):
    raise AssertionError(f"{workdir} failed") from error


def records_of(workdir):
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in TIMES} for record in records]


def checkpoint_digests(workdir):
    found = (workdir / "checkpoints").glob("*/check/metadata")
    return {path.parents[1].name: read_json(path)["sha256"] for path in found}


def files_of(workdir):
    return {path.name for path in workdir.iterdir()}


def end_after(monkeypatch, step):
    """From now on a run is asked to end after this step."""
    monkeypatch.setattr(Termination, "requested", lambda self, now: now == step)


@pytest.fixture(scope="module")
def run():
    return prepare(config_of(0))


def test_what_was_noted_when_the_data_was_read_is_printed(run):
    noted = dataclasses.replace(run.dataset, notes=("2 columns are not read: a, b", "a gap"))
    lines = data_lines(config_of(0), noted).splitlines()
    assert lines[1:] == ["note: 2 columns are not read: a, b", "note: a gap", f"note: {UNREAD}"]


@pytest.fixture(scope="module")
def single(run, tmp_path_factory):
    """The runs one by one."""
    folder = tmp_path_factory.mktemp("single")
    for config, workdir in trials_in(folder):
        train(config, workdir, run)
    return folder


@pytest.fixture(scope="module")
def joint(run, tmp_path_factory):
    """The runs at once, with nothing to disturb them."""
    folder = tmp_path_factory.mktemp("joint")
    train_runs(trials_in(folder), run, never)
    return folder


def check_like_single(joint, single):
    """Results, logs and files of each run are those of the single one, times and rounding aside."""
    for seed in map(str, SEEDS):
        assert files_of(joint / seed) == files_of(single / seed)
        found, wanted = (read_json(folder / seed / "result.json") for folder in (joint, single))
        assert list(found) == list(wanted)
        assert found["notes"] == [*wanted["notes"], found["notes"][-1]]
        assert wanted["notes"][-1] == UNREAD
        assert found["notes"][-1].startswith("one program trained the seeds 0, 1 at once")
        assert (found["at_once"], wanted["at_once"]) == (2, 1)
        for key in ("seed", "device", "parameters", "windows", "epochs", "data_fingerprint", "marks", "best_epoch"):
            assert found[key] == wanted[key]
        for part in ("test", "validation"):
            for name, value in wanted[part].items():
                assert found[part][name] == pytest.approx(value, abs=SMOOTH if name == "loss" else ONE_WINDOW)
        logs = records_of(joint / seed), records_of(single / seed)
        for record, expected in zip(*logs, strict=True):
            assert list(record) == list(expected)
            assert (record["kind"], record["step"], record["epoch"]) == tuple(
                expected[key] for key in ("kind", "step", "epoch")
            )
            if record["kind"] == "step":
                assert record["loss"]["total"] == pytest.approx(expected["loss"]["total"], abs=SMOOTH)
                assert record["steps"] == expected["steps"]


def test_results_and_files_are_those_of_single_runs(joint, single):
    check_like_single(joint, single)


def test_rows_trained_at_once_are_those_of_single_runs(run, single, tmp_path, capsys):
    """Two runs of one seed and different numbers; the second has the learning rate of neither."""
    other = config_of(0)
    other.update_from_flattened_dict({"optimizer.learning_rate": 0.002, "loss.align_weight": 0.3})
    train(other, tmp_path / "alone" / "b", run)
    train_runs([(config_of(0), tmp_path / "a"), (other, tmp_path / "b")], run, never)
    assert "a: epoch 1/3" in capsys.readouterr().out
    rates = []
    for found, wanted in ((tmp_path / "a", single / "0"), (tmp_path / "b", tmp_path / "alone" / "b")):
        records, expected = ([r for r in records_of(workdir) if r["kind"] == "step"] for workdir in (found, wanted))
        for record, of_single in zip(records, expected, strict=True):
            assert record["learning_rate"] == of_single["learning_rate"]
            assert record["loss"]["total"] == pytest.approx(of_single["loss"]["total"], abs=SMOOTH)
        rates.append(records[0]["learning_rate"])
        assert read_json(found / "result.json")["notes"][-1].startswith("one program trained the runs a, b at once")
    assert rates == [pytest.approx(0.02), pytest.approx(0.002)]


def test_terminated_and_resumed_is_the_same_to_the_bit(run, joint, tmp_path, monkeypatch, capsys):
    step = run.steps_per_epoch + run.steps_per_epoch // 2
    assert run.steps_per_epoch // 2 % LOG_EVERY
    with monkeypatch.context() as patch:
        end_after(patch, step)
        with pytest.raises(Terminated, match="143") as ended:
            train_runs(trials_in(tmp_path), run, never)
    assert "resumes the seeds 0, 1" in ended.value.message
    for seed in map(str, SEEDS):
        assert [path.parent.name for path in (tmp_path / seed / "interrupted").glob("*/check")] == [str(step)]
    with Checkpoints(tmp_path / "0" / "interrupted", read_only=True) as interrupted:
        before = interrupted.notes(step)["epoch"]["seconds"]
    train_runs(trials_in(tmp_path), run, never)
    assert f"seed 1: resuming after epoch 1 and {run.steps_per_epoch // 2} steps" in capsys.readouterr().out
    lines = (tmp_path / "0" / "metrics.jsonl").read_text().splitlines()
    second = [record for record in map(json.loads, lines) if record["kind"] == "epoch"][1]
    assert second["seconds"] > before > 0
    for seed in map(str, SEEDS):
        assert records_of(tmp_path / seed) == records_of(joint / seed)
        assert checkpoint_digests(tmp_path / seed) == checkpoint_digests(joint / seed)
        assert not (tmp_path / seed / "interrupted").exists()


def save_and_wait(self, *arguments, **options):
    save(self, *arguments, **options)
    self.wait()


save = Checkpoints.save


def test_checkpoints_written_within_the_epoch_are_the_same(run, single, tmp_path, monkeypatch):
    """The run goes on while a checkpoint is written, and leaves what one leaves that waits for each."""
    monkeypatch.setattr(Checkpoints, "save", save_and_wait)
    train(config_of(0), tmp_path / "run", run)
    assert records_of(tmp_path / "run") == records_of(single / "0")
    assert checkpoint_digests(tmp_path / "run") == checkpoint_digests(single / "0")


def test_a_failed_save_ends_the_run(run, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    def save_in_vain(self, *arguments, **options):
        monkeypatch.setattr(self._manager, "save", fail)
        save(self, *arguments, **options)

    monkeypatch.setattr(Checkpoints, "save", save_in_vain)
    with pytest.raises(OSError, match=r"checkpoints: checkpoint 1 could not be written"):
        train(config_of(0), tmp_path / "run", run)


def test_cosines_of_gradients_are_logged_and_change_nothing_else(run, single, joint, tmp_path, monkeypatch):
    """Of a run that is interrupted and resumed, and of two at once: every other number is as without, to the bit."""
    trials = trials_in(tmp_path / "joint")
    for config, _ in trials:
        config.train.diagnosis_batches = 2
    config = trials[0][0]
    with monkeypatch.context() as patch:
        end_after(patch, run.steps_per_epoch + 2)
        with pytest.raises(Terminated):
            train(config, tmp_path / "single" / "0", run)
    train(config, tmp_path / "single" / "0", run)
    train_runs(trials, run, never)
    cosines = {}
    for name, before in (("single", single), ("joint", joint)):
        records = records_of(tmp_path / name / "0")
        cosines[name] = [record.pop("gradient_cosine") for record in records if record["kind"] == "epoch"]
        assert records == records_of(before / "0")
    values = [cosine for of_epoch in cosines["single"] for others in of_epoch.values() for cosine in others.values()]
    assert len(set(values)) == 4 * EPOCHS
    assert max(map(abs, values)) <= 1
    for found, expected in zip(cosines["joint"], cosines["single"], strict=True):
        for others in ("fusion", "shared"):
            assert found[others] == pytest.approx(expected[others], abs=0.01)
            assert set(found[others]) == {"res", "dense"}


@pytest.fixture(scope="module")
def sparse():
    """The run of a config with three epochs from checkpoint to checkpoint, the last epoch of which is tested."""
    config = config_of(0)
    config.update_from_flattened_dict({"train.checkpoint_every": 3, "train.selection": "last"})
    return config, prepare(config)


def end_after_epoch(monkeypatch, number):
    """Ends a run by an interruption from the keyboard, once this epoch is finished."""
    finish = trainer.finish_epoch

    def finish_and_end(run, member, *arguments):
        summary = finish(run, member, *arguments)
        if member.epoch.number == number:
            raise KeyboardInterrupt
        return summary

    monkeypatch.setattr(trainer, "finish_epoch", finish_and_end)


@pytest.mark.parametrize("epoch", [2, 3])
def test_resumed_between_checkpoints_is_the_same_to_the_bit(epoch, sparse, tmp_path, monkeypatch):
    """Ended by SIGTERM within the second epoch, which leaves the only checkpoint, and then after an epoch."""
    config, run = sparse
    train(config, tmp_path / "whole", run)
    assert set(checkpoint_digests(tmp_path / "whole")) == {str(EPOCHS)}
    with monkeypatch.context() as patch:
        end_after(patch, run.steps_per_epoch + 2)
        with pytest.raises(Terminated):
            train(config, tmp_path / "run", run)
    assert checkpoint_digests(tmp_path / "run") == {}
    with monkeypatch.context() as patch:
        end_after_epoch(patch, epoch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", run)
    train(config, tmp_path / "run", run)
    assert records_of(tmp_path / "run") == records_of(tmp_path / "whole")
    assert checkpoint_digests(tmp_path / "run") == checkpoint_digests(tmp_path / "whole")
    assert not (tmp_path / "run" / "interrupted").exists()


def test_a_seed_that_is_ahead_waits(run, single, tmp_path, monkeypatch):
    """Seed 1 was stopped within its second epoch, while it was trained alone; seed 0 has not begun."""
    with monkeypatch.context() as patch:
        end_after(patch, run.steps_per_epoch + 2)
        with pytest.raises(Terminated):
            train(*trials_in(tmp_path)[1], run)
    train_runs(trials_in(tmp_path), run, never)
    check_like_single(tmp_path, single)
    before = [record for record in records_of(single / "1") if record["epoch"] == 1]
    assert [record for record in records_of(tmp_path / "1") if record["epoch"] == 1] == before


def test_one_that_is_not_finite_ends_alone(run, joint, tmp_path):
    def spoil(seed):
        state = run.initial_state(seed)
        return state.replace(params=jax.tree.map(lambda x: x * np.nan, state.params)) if seed == 1 else state

    failed = {}
    train_runs(trials_in(tmp_path), run._replace(initial_state=spoil), failed.__setitem__)
    ((workdir, error),) = failed.items()
    assert workdir == tmp_path / "1"
    assert isinstance(error, NonFiniteError)
    assert str(error).startswith("step 1: loss.")
    assert (tmp_path / "1" / "nonfinite.json").exists()
    assert not (tmp_path / "1" / "result.json").exists()
    assert records_of(tmp_path / "0") == records_of(joint / "0")
    assert checkpoint_digests(tmp_path / "0") == checkpoint_digests(joint / "0")
    assert read_json(tmp_path / "0" / "result.json")["test"] == read_json(joint / "0" / "result.json")["test"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("validation", "epoch 2: validation.loss is nan; the last good checkpoint is .*/run/checkpoints/1; a smaller"),
        ("test", "the state of epoch [123]: test.loss is nan"),
    ],
)
def test_a_part_without_finite_scores_is_named(part, message, run, tmp_path):
    evaluated = []

    def evaluate(state, split):
        found = run.evaluate(state, split)
        evaluated.append(split)
        spoilt = split is run.dataset.splits[part] and (part == "test" or len(evaluated) == 2)
        return found._replace(tally=found.tally.replace(loss=np.float64("nan"))) if spoilt else found

    config = config_of(0)
    with pytest.raises(NonFiniteError, match=message):
        train(config, tmp_path / "run", run._replace(evaluate=evaluate))
    assert not (tmp_path / "run" / "result.json").exists()
    train(config, tmp_path / "run", run)
    assert (tmp_path / "run" / "result.json").exists()


def test_a_damaged_checkpoint_ends_its_run_alone(run, joint, tmp_path):
    shutil.copytree(joint, tmp_path / "runs")
    for seed in map(str, SEEDS):
        (tmp_path / "runs" / seed / "result.json").unlink()
    (damaged,) = (tmp_path / "runs" / "0" / "checkpoints" / str(EPOCHS)).glob("files.json")
    damaged.write_text('{"absent": ""}')
    failed = {}
    train_runs(trials_in(tmp_path / "runs"), run, failed.__setitem__)
    assert list(failed) == [tmp_path / "runs" / "0"]
    assert "files.json has changed" in str(failed[tmp_path / "runs" / "0"])
    assert (tmp_path / "runs" / "1" / "result.json").exists()


def test_streamed_seeds_give_the_numbers_of_resident_ones_to_the_bit(joint, tmp_path):
    trials = trials_in(tmp_path)
    for config, _ in trials:
        config.data.stream = True
    run = prepare(trials[0][0])
    assert isinstance(run.signals.values, np.ndarray)
    train_runs(trials, run, never)
    check_equal(tmp_path, joint)


def check_equal(found, wanted):
    """Scores, records and checkpoints of each run are equal."""
    for seed in map(str, SEEDS):
        assert records_of(found / seed) == records_of(wanted / seed)
        assert checkpoint_digests(found / seed) == checkpoint_digests(wanted / seed)
        results = [read_json(folder / seed / "result.json") for folder in (found, wanted)]
        for key in ("validation", "test", "branches", "confusion"):
            assert results[0][key] == results[1][key]


@pytest.mark.slow
def test_seeds_divided_among_devices(single, tmp_path):
    for stream in (False, True):
        trials = trials_in(tmp_path / str(stream))
        for config, _ in trials:
            # With three devices one has no seed of its own, and the batch does not divide by them.
            config.update_from_flattened_dict({"parallel.devices": 3, "train.epochs": 1, "data.stream": stream})
        train_runs(trials, prepare(trials[0][0], divide_seeds=True), never)
    check_equal(tmp_path / "True", tmp_path / "False")
    for seed in map(str, SEEDS):
        workdir = tmp_path / "False" / seed
        expected = [record for record in records_of(single / seed) if record["epoch"] == 1]
        for record, wanted in zip(records_of(workdir), expected, strict=True):
            if record["kind"] == "step":
                assert record["loss"]["total"] == pytest.approx(wanted["loss"]["total"], abs=1e-4)
        assert read_json(workdir / "result.json")["device"] == "3 x cpu (cpu)"
        assert read_json(workdir / "result.json")["precision"] == "float32"


def test_a_limit_lowered_below_the_steps_skipped_before_ends_a_run_only_at_the_next_one(monkeypatch):
    epoch = Epoch(2)
    settings = SimpleNamespace(train=SimpleNamespace(skip_nonfinite=0, log_every=1))
    log = SimpleNamespace(epochs=lambda: [{"skipped_steps": 3}])
    member = SimpleNamespace(place=0, epoch=epoch, config=settings, log=log, failed=False, workdir="run")
    run = SimpleNamespace(steps_per_epoch=4)
    monkeypatch.setattr(trainer, "stopped_by_nonfinite", lambda *_: NonFiniteError("stopped"))

    def metrics(loss):
        return {"loss": {"total": np.array([loss])}, "accuracy": np.ones(1), "finite": np.array([np.isfinite(loss)])}

    trainer.distribute_metrics([(metrics(1.0), 1)], [member], run, None)
    assert [number for number, _ in epoch.records] == [1]
    with pytest.raises(NonFiniteError, match="stopped"):
        trainer.distribute_metrics([(metrics(np.nan), 1)], [member], run, None)
