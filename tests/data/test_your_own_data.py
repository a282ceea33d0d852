"""docs/your_own_data.md is what happens: its tables, its config, its command and what it says comes out."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from configs import your_own
from dcdp_jax.data.dataset import build_dataset

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "your_own_data.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOC, re.DOTALL)


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The folder in which the page's first program has run."""
    folder = tmp_path_factory.mktemp("tables")
    subprocess.run([sys.executable, "-c", blocks("python")[0]], cwd=folder, check=True)
    return folder


def test_the_config_is_the_pages():
    assert blocks("python")[1] == (ROOT / "configs" / "your_own.py").read_text()


def test_the_tables_are_the_pages(tables):
    assert (tables / "monday.csv").read_text().replace("\r\n", "\n").startswith(blocks("text")[0])
    assert sorted(path.name for path in tables.iterdir()) == ["monday.csv", "tuesday.csv"]


def test_what_becomes_of_the_tables_is_the_pages(tables):
    data = your_own.get_config().data
    data.raw_dir = str(tables)
    dataset = build_dataset(data)
    notes, subjects = (json.loads(block) for block in blocks("json"))
    assert list(dataset.notes) == notes
    assert dataset.subject_counts == subjects
    data.protocol, data.table.test, data.table.validation = "loso", (), ()
    tested = []
    for fold in range(3):
        data.fold = fold
        dataset = build_dataset(data)
        tested += dataset.subject_counts["test"]
        assert any(f"subject {tested[-1]} tests" in note for note in dataset.notes)
    assert tested == ["anna", "ben", "carla"]


@pytest.mark.slow
def test_the_command_does_what_the_page_says(tables, tmp_path):
    command = blocks("sh")[0].replace("FOLDER", str(tables)).replace("runs/your_own", str(tmp_path / "run"))
    arguments = [sys.executable, *command.split()[1:], "--config.train.epochs=1"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert blocks("text")[1] in done.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    notes, subjects = (json.loads(block) for block in blocks("json"))
    assert result["notes"] == notes
    assert result["subject_counts"] == subjects
    assert (tmp_path / "run" / "report.html").exists()
    # A table of another device: its own name and unit of time.
    monday = pd.read_csv(tables / "monday.csv").query("person == 'anna'").rename(columns={"time": "clock"})
    monday["clock"] *= 1_000_000
    monday.to_csv(tmp_path / "other.csv", index=False)
    fields = ["--config.data.table.time=clock", "--config.data.table.time_unit=ns"]
    predict = [*arguments, *fields, "--mode=predict", f"--input={tmp_path / 'other.csv'}"]
    done = subprocess.run(predict, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "run" / "predictions" / "other" / "windows.csv")
    lines = (tmp_path / "other.csv").read_text()
    done = subprocess.run([*arguments, *fields, "--mode=stream"], cwd=ROOT, capture_output=True, text=True, input=lines)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["class"] for line in done.stdout.splitlines()] == rows["class"].tolist()
    seconds = monday["clock"] / 1e9
    stretches = seconds.groupby((seconds.diff() > 0.5).cumsum()).agg(["min", "max"])
    samples = ((stretches["max"] - stretches["min"]) * 25).astype(int) + 1
    assert len(rows) == ((samples - 50) // 25 + 1).sum()
    done = subprocess.run([*arguments, *fields], cwd=ROOT, capture_output=True, text=True)
    assert "holds a run of another config (data.table.time: 'time' -> 'clock'" in done.stderr
