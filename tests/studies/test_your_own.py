"""Tests the study of a user's own tables through the command line."""

import csv
import json

import numpy as np

from tests.e2e.running import ROOT, command

TINY = (
    "--config.datasets.own.model.width=2",
    "--config.datasets.own.model.resnet_blocks=(1,)",
    "--config.datasets.own.model.densenet_blocks=(1,)",
    "--config.datasets.own.model.embedding=8",
    "--config.datasets.own.train.epochs=1",
    "--config.datasets.own.train.batch_size=8",
)


def write_tables(folder, swapped=(), noise=0.3):
    """Writes a table of each of six people, who stand and walk; the column of activities is called `doing`.

    Args:
      folder: gets the tables.
      swapped: people whose labels are exchanged.
      noise: standard deviation of what is added to the signals.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    for person in range(6):
        with (folder / f"{person}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["time", "person", "doing", "acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"])
            for row in range(1200):
                walking = row % 600 >= 300
                values = rng.normal(walking * np.sin(row / 2), noise, 6)
                label = "walk" if walking != (person in swapped) else "stand"
                table.writerow([row * 40, f"p{person}", label, *values.round(3)])


def test_own_tables_in_groups(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    tables, folder = tmp_path / "tables", tmp_path / "run"
    write_tables(tables)
    fields = (f"--config.datasets.own.data.raw_dir={tables}", "--config.datasets.own.data.table.label=doing")
    study = ("--config.study.folds=(0,)", "--config.study.seeds=(0,)", f"--workdir={folder}")
    config = "configs/studies/your_own.py:groups,3"
    status, _, errors = command(*fields, *study, *TINY, config=config)
    assert status == 0, errors
    with (folder / "tables" / "own.csv").open(newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file) if row["score"] == "accuracy"}
    assert list(rows) == ["Random forest", "CNN", "DCDP-HAR without CGM", "DCDP-HAR"]
    results = {}
    for path in folder.glob("trials/*/result.json"):
        result = json.loads(path.read_text())
        assert result["subjects"]["test"] == ["p0", "p3"]
        results[path.parent.name.partition("-fold")[0].removeprefix("own-")] = result
    parameters = {name: float(row["parameters"]) for name, row in rows.items()}
    assert parameters["CNN"] == results["CNN"]["parameters"]
    assert parameters["Random forest"] == results["Random_forest"]["parameters"]
    assert parameters["DCDP-HAR"] == parameters["DCDP-HAR without CGM"] == results["DCDP_HAR"]["parameters"]
    assert all(row["subjects"] == "2" for row in rows.values())
    assert [row["compared_with"] for row in rows.values()] == ["", *["Random forest"] * 3]
    assert f"{results['CNN']['parameters']:,}" in (folder / "page.md").read_text()
