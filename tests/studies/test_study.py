"""Tests the end of a study: failed trials are named, the rest is finished and shown, and the exit status is 1."""

import pytest

from configs.studies import default
from dcdp_jax.errors import CheckpointError, ConfigError
from dcdp_jax.runs.workdir import LOCK, locked
from dcdp_jax.studies.study import study
from tests.e2e.running import ROOT, command

STUDY = """
from configs.studies import default

FOREST = {"model.name": "random_forest", "cgm.enabled": False}
TOO_LARGE = {"model.name": "cnn", "cgm.enabled": False, "train.batch_size": 100_000}

def get_config():
    config = default.get_config()
    config.study.quick = True
    config.quick.seeds = (0,)
    config.study.stages = (default.stage("first", {"too large": TOO_LARGE, "forest": FOREST}),
                           default.stage("second", {"larger": TOO_LARGE}),
                           default.stage("third", {"never": {}}))
    return config
"""


def test_a_study_with_a_failed_trial_finishes_the_rest_and_exits_with_1(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path, folder = tmp_path / "small.py", tmp_path / "run"
    path.write_text(STUDY)
    status, output, errors = command(f"--workdir={folder}", config=path)
    assert status == 1, errors
    assert "2 trials failed; the same command tries them again:\n" in output
    for row in ("too_large", "larger"):
        assert f"\nsynthetic-{row}-fold0-seed0-" in output
    assert output.count("train.batch_size=100000") >= 2
    assert output.splitlines()[-1].startswith("stage 'second': no trial was finished; the next stages build")
    text = (folder / "tables" / "synthetic.md").read_text()
    assert "| first | forest (chosen) | 1 |" in text
    assert "| second | larger | 0 (1 failed) |" in text
    assert "never" not in text
    assert "2 of 3 trials" in (folder / "page.md").read_text()


def test_a_second_study_in_the_same_folder_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(CheckpointError, match="is in use by process"):
        study(default.get_config(), tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / LOCK).touch()  # of a study that was killed before its study.json was written
    with pytest.raises(ConfigError, match=r"study\.stages needs at least one row"):
        study(default.get_config(), tmp_path)
