"""Where a study's trials run: what cannot be used is refused, what dies is noted, SIGTERM reaches all."""

import json
import socket
import subprocess
import sys
import time

import pytest

from configs.studies import default
from dcdp_jax.config import check_study
from dcdp_jax.errors import CheckpointError, ConfigError
from dcdp_jax.studies import jobs
from dcdp_jax.studies.engine import ENGINES, jobs_of, run_study
from dcdp_jax.studies.figures import read_curves
from dcdp_jax.studies.grid import stages_of, trials_of
from dcdp_jax.studies.jobs import note_death, terminate
from dcdp_jax.studies.outcomes import folder_of, outcome_of
from dcdp_jax.studies.ray_engine import run_job
from dcdp_jax.studies.worker import dataset_of, run_of, train_trials
from tests.e2e.running import WAIT_SECONDS


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("engine", "spark", "study.engine='spark' is not one of local, ray"),
        ("workers", 0, "study.workers=0 is not between 1 and 1e+06"),
        ("seeds_at_once", 0, "study.seeds_at_once=0 is not between 1 and 1e+06"),
        ("seeds", (0, -1), "study.seeds=(0, -1) is not between 0 and 2.14748e+09"),
        ("folds", (0.5,), "study.folds=(0.5,): each item must be a whole number"),
        ("cpus_per_group", float("inf"), "study.cpus_per_group=inf is not finite"),
        ("devices_divide", "steps", "study.devices_divide='steps' is not one of windows, seeds"),
        ("devices_divide", "seeds", "study.devices_divide='seeds' needs study.seeds_at_once above 1"),
        ("cpus_per_group", -1.0, "study.cpus_per_group=-1.0 is below 0"),
        ("gpus_per_group", -0.5, "study.gpus_per_group=-0.5 is below 0"),
        ("seeds", (), "study.seeds=() leaves no trial, expected one seed or more, as (0, 1, 2)"),
        ("seeds", (0, 1, 0), "study.seeds=(0, 1, 0): expected every number once"),
        ("folds", (2, 2), "study.folds=(2, 2): expected every number once"),
        ("inner_folds", 2, "study.inner_folds=2 must be 0, or 3 or more"),
        (
            *("selection", "loss"),
            "study.selection='loss' is not one of accuracy, precision_macro, recall_macro, f1_macro, "
            "precision_weighted, recall_weighted, f1_weighted",
        ),
        ("compare", ("ab", "b"), "study.compare: 'ab' must look like ('row', 'reference row')"),
        ("compare", (("a", "b", "c"),), "study.compare: ('a', 'b', 'c') must look like ('row', 'reference row')"),
        ("compare", (("a", "a"),), "study.compare: the row 'a' is compared with itself"),
        (
            *("compare", (("a", "b"), ("a", "c"))),
            "study.compare: the row 'a' is named twice, expected one reference for each row",
        ),
        (
            *("oracles", (("a", ("b", "b")),)),
            "study.oracles: the oracle of 'a' names a row twice, and would multiply it by itself",
        ),
        ("oracles", (("a", ()),), "study.oracles: ('a', ()) must look like ('row', ('branch alone', ...))"),
        (
            *("paper", (("a", "set", "accuracy"),)),
            "study.paper: ('a', 'set', 'accuracy') must look like ('row', 'data set', 'accuracy', 97.79)",
        ),
    ],
)
def test_refused(field, value, message):
    config = default.get_config()
    config.study[field] = value
    with pytest.raises(ConfigError) as error:
        check_study(config)
    assert str(error.value) == message


def test_scores_that_no_result_has_are_refused():
    config = default.get_config()
    config.study.scores = ("accuracy", "acuracy")
    with pytest.raises(
        ConfigError, match=r"study\.scores=.*: 'acuracy' is not one of accuracy, .*f1_weighted, ece, loss"
    ):
        check_study(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data.protocol": "loso"}, r"data\.protocol='loso' and 'groups' on synthetic, expected the same"),
        ({"data.folds": 4}, r"data\.folds=4 and 10 on synthetic"),
    ],
)
def test_rows_whose_folds_test_other_people_are_not_compared(tmp_path, fields, message):
    config = default.get_config()
    config.study.quick = True
    config.quick.datasets.synthetic.data.protocol = "groups"
    config.study.stages = (default.stage("", {"a": {}, "b": fields}),)
    config.study.compare = (("b", "a"),)
    with pytest.raises(ConfigError, match=rf"rows 'b' and 'a' have {message}"):
        run_study(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_trial_may_be_removed(tmp_path):
    config = default.get_config()
    config.study.quick = True
    config.study.stages = (default.stage("A", {"a": {}}),)
    trial = trials_of(config, stages_of(config)[0], {})[0]
    folder_of(trial, tmp_path).mkdir(parents=True)
    (folder_of(trial, tmp_path) / "result.json").write_text('{"dataset": "syn')
    with pytest.raises(CheckpointError, match=rf"or remove .*{trial.name}: the same command trains it again"):
        outcome_of(trial, tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"metrics.jsonl is missing.*; or remove .*{trial.name}: the same command"
    ):
        read_curves(folder_of(trial, tmp_path))


def test_stages_without_a_validation_part_are_refused(tmp_path):
    config = default.get_config()
    config.study.quick = True
    rows = {"model.name": "random_forest", "cgm.enabled": False, "data.validation": "none"}
    config.study.stages = (default.stage("A", {"a": rows}), default.stage("B", {"b": rows}))
    with pytest.raises(ConfigError, match=r"stage 'A': data\.validation='none', and its rows are"):
        run_study(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    study = default.get_config().study
    study.engine = "ray"
    engine = ENGINES[study.engine](study)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[cluster\]'"):
        engine.__enter__()


def test_a_machine_without_the_shared_disk(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no .*job\.json; .* needs a disk that all machines share"):
        run_job(tmp_path / "job.json", tmp_path, 0.0)


@pytest.fixture
def job(tmp_path):
    """The file of three trials: with a result, with an error, with neither."""
    folders = [tmp_path / name for name in ("result", "error", "neither")]
    for folder in folders[:2]:
        folder.mkdir()
        (folder / {"result": "result.json", "error": "error.txt"}[folder.name]).write_text("its own")
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"trials": [{"folder": str(folder)} for folder in folders]}))
    return path


def test_a_dead_process_leaves_an_error_where_nothing_was(job):
    note_death(job, "it died")
    found = {path.relative_to(job.parent).as_posix(): path.read_text() for path in job.parent.glob("*/*")}
    log = job.with_suffix(".log")
    assert found == {"result/result.json": "its own", "error/error.txt": "its own"} | {
        "neither/error.txt": f"it died; see {log}\n"
    }


def test_what_has_ended_is_not_trained_again(job):
    train_trials([(None, job.parent / name) for name in ("result", "error")], keep_checkpoints=False)
    assert (job.parent / "error" / "error.txt").read_text() == "its own"


def test_data_is_read_again_where_it_is_another():
    data, equal, other = (default.smallest().data for _ in range(3))
    other.normalize = "minmax"
    first = dataset_of(data)
    assert dataset_of(equal) is first
    assert dataset_of(other).normalizer.scale[0] != first.normalizer.scale[0]
    again = dataset_of(data)
    assert again is not first  # one is held, not two
    assert again.fingerprint == first.fingerprint


def test_jobs_have_the_trials_of_a_row_or_those_of_one_program(tmp_path):
    study = default.get_config()
    study.datasets = {"small": default.smallest()}
    study.study.seeds = (0, 1, 2)
    rows = {name: {"optimizer.learning_rate": rate} for name, rate in (("a", 0.1), ("c", 0.2))}
    study.study.stages = (default.stage("", rows | {"b": {"optimizer.name": "sgd"}}),)
    trials = trials_of(study, stages_of(study)[0], {})
    finished = folder_of(trials[0], tmp_path)
    finished.mkdir(parents=True)
    (finished / "result.json").write_text("")

    def named(at_once):
        return [[(t.row, t.seed) for t in job] for job in jobs_of(trials, tmp_path, at_once)]

    a, c, b = ([(row, seed) for seed in (0, 1, 2)] for row in "acb")
    assert named(1) == [a[1:], c, b]
    assert named(4) == [[*a[1:], *c[:2]], c[2:], b]


def test_rows_that_have_one_folder_are_trained_once(tmp_path):
    """Names without a letter or digit of ASCII are no part of the folder's, and the fields are the same."""
    study = default.get_config()
    study.datasets = {"small": default.smallest()}
    study.study.seeds = (0,)
    study.study.stages = (default.stage("", {"λ": {}, "τ": {"cgm.alpha": default.smallest().cgm.alpha}}),)
    trials = trials_of(study, stages_of(study)[0], {})
    assert len({trial.name for trial in trials}) == 1
    assert [len(job) for job in jobs_of(trials, tmp_path, 1)] == [1]


def test_one_program_is_kept_for_rows_that_differ_in_numbers(monkeypatch):
    built = []
    monkeypatch.setattr("dcdp_jax.train.build.prepare", lambda config, *_: built.append(config) or config)
    monkeypatch.setattr("dcdp_jax.studies.worker._RUNS", {})
    config, same, other = (default.smallest() for _ in range(3))
    same.update_from_flattened_dict({"seed": 1, "cgm.alpha": 0.1})
    other.cgm.scope = "head"
    assert run_of(config, False) is run_of(same, False) is config
    assert run_of(other, False) is other
    assert run_of(config, True) is config
    assert built == [config, other, config]


def test_terminate_asks_again(monkeypatch):
    monkeypatch.setattr(jobs, "TERMINATE_EVERY_SECONDS", 0.2)
    deaf_once = "import signal, time; signal.signal(15, lambda *_: signal.signal(15, signal.SIG_DFL)); "
    processes = [
        subprocess.Popen([sys.executable, "-c", f"{text}print(flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
        for text in (deaf_once, "import time; ")
    ]
    for process in processes:
        with process.stdout as output:
            output.readline()
    terminate(processes)
    assert [process.returncode for process in processes] == [-15, -15]


def test_a_process_ends_when_another_has_its_job(tmp_path):
    path = tmp_path / "job.json"
    text = f"""if True:
        import pathlib, time
        from dcdp_jax.studies.worker import end_when_replaced
        end_when_replaced(pathlib.Path({str(path)!r}))
        time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline().strip()
        assert path.with_suffix(".owner").read_text() == first == f"process {process.pid} of {socket.gethostname()}"
        time.sleep(1.5)
        assert process.poll() is None
        path.with_suffix(".owner").write_text("process 1 of another")
        assert process.stdout.readline().strip() == "ends here, for process 1 of another has taken over"
        assert process.wait(WAIT_SECONDS) == 1
