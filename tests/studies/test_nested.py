"""Tests nested selection with a canary: other labels in the test set change nothing but the test scores."""

import csv
import json

import pytest

from configs.studies import default, your_own
from dcdp_jax.studies.study import study
from tests.e2e.running import ROOT
from tests.studies.test_your_own import write_tables

pytestmark = pytest.mark.slow

CANARY = 5
# What differs between two runs of the same config, and the digest of all files that were read.
OF_THE_RUN = ("wall_seconds", "windows_per_second", "command", "data_fingerprint")


def nested(tables):
    """Returns a study of forests: the length of the windows is chosen in three folds."""
    config = default.get_config()
    config.datasets.own = your_own.get_config().datasets.own
    data = config.datasets.own.data
    data.raw_dir, data.protocol, data.folds = str(tables), "subject", 10
    data.table.label, data.table.test = "doing", (f"p{CANARY}",)
    config.datasets.own.model.name, config.datasets.own.cgm.enabled = "random_forest", False
    windows = {f"window {length}": {"data.window": length} for length in (10, 40)}
    config.study.stages = (default.stage("window", windows), default.stage("test", {"final": {}}))
    config.study.inner_folds, config.study.seeds = 3, (0,)
    return config


def results_of(folder):
    """Returns {trial: result}, the trials by row and fold, as another test set gives them another digest."""
    return {
        path.parent.name.partition("-seed")[0]: json.loads(path.read_text())
        for path in sorted(folder.glob("trials/*/result.json"))
    }


def predictions_of(folder):
    (path,) = folder.glob("trials/own-final-*/predictions.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Folders of two studies, the second of which has other labels in the test set."""
    top = tmp_path_factory.mktemp("nested")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        for name, swapped in (("honest", ()), ("canary", (CANARY,))):
            write_tables(top / f"{name} tables", swapped, noise=1.0)
            assert study(nested(top / f"{name} tables"), top / name) == 0
            assert not list(top.glob("*/trials/*/error.txt"))
    return top / "honest", top / "canary"


def test_the_canary_changes_the_test_scores_alone(studies):
    honest, canary = map(results_of, studies)
    assert len(honest) == 2 * 3 + 1
    assert honest.keys() == canary.keys()
    for name, result in honest.items():
        differing = {key for key in result if key not in OF_THE_RUN and result[key] != canary[name][key]}
        assert differing == ({"test", "confusion"} if name.startswith("own-final") else set())
    before, after = map(predictions_of, studies)
    assert [row.pop("true") for row in before] != [row.pop("true") for row in after]
    assert before == after


def test_only_the_last_stage_reads_the_test_part(studies):
    results = results_of(studies[0])
    final = results.pop("own-final-fold0")
    assert final["subjects"] == {"train": [f"p{i}" for i in range(CANARY)], "test": [f"p{CANARY}"]}
    held_out = {}
    for name, result in results.items():
        row, fold = name.rsplit("-fold", 1)
        people = result["subjects"]
        assert sorted(people["train"] + people["test"]) == [f"p{i}" for i in range(CANARY)]
        assert any("left out are the 1 subjects" in note for note in result["notes"])
        held_out.setdefault(row, []).extend(people["test"])
        assert fold in "012"
    assert [sorted(people) for people in held_out.values()] == [[f"p{i}" for i in range(CANARY)]] * 2


def test_the_table_shows_the_choice_and_one_test(studies):
    folder = studies[0]
    results = results_of(folder)
    means = {
        row: sum(results[f"own-{row}-fold{fold}"]["test"]["f1_macro"] for fold in range(3)) / 3
        for row in ("window_10", "window_40")
    }
    assert abs(means["window_10"] - means["window_40"]) > 0  # or the choice would show nothing
    best = max(means, key=means.get).replace("_", " ")
    text = (folder / "tables" / "own.md").read_text()
    with (folder / "tables" / "own.csv").open(newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file) if row["score"] == "accuracy"}
    assert f"| window | {best} (chosen) | 3 |" in text
    assert [name for name, row in rows.items() if row["mean"] != "nan"] == ["final"]
    for row, mean in means.items():
        assert float(rows[row.replace("_", " ")]["validation"]) == pytest.approx(100 * mean)
    assert "on held-out folds of the training subjects" in text
    assert "protocol subject: test set" in text
    assert "tested is" not in text  # nobody validates, so that no state was selected
    config = json.loads(next(folder.glob("trials/own-final-*/config.json")).read_text())
    assert f"window {config['data']['window']}" == best
