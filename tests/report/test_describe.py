"""The description of a data set: its numbers against the recordings, and a page that no name can break."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from configs import default
from dcdp_jax.config import as_plain_data
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.datasets import synthetic
from dcdp_jax.data.summary import summarize
from dcdp_jax.errors import CheckpointError
from dcdp_jax.report.describe import description_lines, write_description
from dcdp_jax.runs.workdir import check_workdir, make_workdir
from tests.e2e.running import SMALL_DATA, command

HOSTILE = "</title></td><script>alert('x')</script> & \"$body\" ${css} $a_1$ 歩く"
SVG_ELEMENT = re.compile(r"<svg.*?</svg>", re.DOTALL)


class Page(HTMLParser):
    """Checks that tags are balanced; keeps attributes, and texts by the tag they stand in."""

    def __init__(self, page):
        super().__init__()
        self.open, self.attributes, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.texts.append((self.open[-1], data))

    def of(self, tag):
        return [text for where, text in self.texts if where == tag]


def synthetic_config():
    config = default.get_config()
    config.data.name = "synthetic"
    config.data.protocol = "subject"
    config.data.window, config.data.step = 64, 32
    config.data.synthetic.subjects = 5
    config.data.synthetic.minutes = 3.0
    return config.data


@pytest.fixture(scope="module")
def built():
    config = synthetic_config()
    return config, build_dataset(config)


@pytest.fixture
def summary(built):
    """A copy that a test may change."""
    return json.loads(json.dumps(summarize(*built), allow_nan=False))


def page_of(summary, folder):
    page = write_description(folder, summary).read_text(encoding="utf-8")
    return page, Page(page)


def test_minutes_are_those_of_the_recordings(summary):
    for recording in synthetic.make_recordings(subjects=5, minutes=3.0):
        row = summary["minutes"][str(recording.subject)]
        for i, name in enumerate(synthetic.CLASS_NAMES):
            assert row[name] == pytest.approx((recording.labels == i).sum() / recording.rate / 60)
        assert row[""] == 0
        assert sum(row.values()) == pytest.approx(3.0)
    assert list(summary["minutes"]) == ["1", "2", "3", "4", "5"]


def test_counts_and_subjects_are_those_of_the_windows(summary, built):
    for name, split in built[1].splits.items():
        assert summary["windows"][name] == sum(summary["counts"][name].values()) == len(split.labels)
        assert summary["subjects"][name] == [str(s) for s in np.unique(split.subjects)]
    assert summary["marks"] == ["synthetic"]


def test_statistics_of_channels(summary):
    values = np.concatenate([r.signals for r in synthetic.make_recordings(subjects=5, minutes=3.0)]).astype(float)
    for channel, column in zip(summary["channels"], values.T, strict=True):
        assert channel["mean"] == pytest.approx(column.mean(), abs=1e-9)
        assert channel["deviation"] == pytest.approx(column.std(), rel=1e-6)
        assert (channel["lowest"], channel["highest"]) == (column.min(), column.max())
        assert channel["missing"] == 0


def test_examples_are_training_windows_of_their_class(summary, built):
    dataset = built[1]
    train = dataset.splits["train"]
    assert list(summary["examples"]) == list(synthetic.CLASS_NAMES)
    for label, example in enumerate(summary["examples"].values()):
        values = np.array(example["values"], np.float32)
        same = [(dataset.signals[start : start + 64] == values).all() for start in train.starts]
        (row,) = np.flatnonzero(same)
        assert train.labels[row] == label
        assert train.subjects[row] == example["subject"]


def test_own_table_with_missing_values_and_unlabelled_time(tmp_path):
    lines = ["time,label,subject,x,y,z"]
    for number, subject in enumerate(("ann", "bob", "cyd")):
        for i in range(400):
            label = ("sit", "walk", "")[i // 150]
            lines.append(f"{i / 10},{label},{subject},{'' if i % 50 == 7 else np.sin(i)},{i + number},1")
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    config = default.get_config().data
    config.name, config.protocol, config.raw_dir, config.window, config.step = "table", "subject", str(tmp_path), 20, 10
    config.table.rate = 10.0
    config.table.channels = tuple((axis, "acc", "hip", "g") for axis in "xyz")
    summary = summarize(config, build_dataset(config))
    assert {c["name"]: c["missing"] for c in summary["channels"]} == {"x": 24, "y": 0, "z": 0}
    for row in summary["minutes"].values():
        assert row == {"sit": 0.25, "walk": 0.25, "": pytest.approx(100 / 600)}
    _, page = page_of(summary, tmp_path)
    assert "none of these" in page.of("span")
    assert {"ann", "bob", "cyd", "all"} <= set(page.of("th"))
    assert "24" in page.of("td")
    assert "0.25" in page.of("td")


def test_page_is_self_contained_and_sound(summary, tmp_path):
    page, parsed = page_of(summary, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["describe.html"]
    assert "<script" not in page
    assert "@import" not in page
    links = [value for _, name, value in parsed.attributes if name in ("src", "href", "xlink:href", "action")]
    assert all(value.startswith("#") for value in links)
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    charts = SVG_ELEMENT.findall(page)
    assert len(charts) == 8
    for chart in charts:
        ElementTree.fromstring(chart)
    assert parsed.of("h2") == [
        "Sets",
        "Class balance",
        "Subjects and classes",
        "Example windows",
        "Channels",
        "What was found",
        "Origin",
    ]
    assert set(synthetic.CLASS_NAMES) <= set(parsed.of("h3"))
    assert set(summary["notes"]) == set(parsed.of("li")[-len(summary["notes"]) :])
    assert page_of(summary, tmp_path)[0] == page


def test_people_who_are_held_out_are_a_set_too(tmp_path):
    config = synthetic_config()
    config.heldout = (1,)
    made = summarize(config, build_dataset(config))
    _, page = page_of(made, tmp_path)
    assert page.of("th").count("heldout") == 1
    assert f"{made['windows']['heldout']:,}" in page.of("td")


def test_names_cannot_break_the_page(summary, tmp_path):
    text = json.dumps(summary)
    for name in ("walk", "wrist_acc_x", "synthetic", "gyro", summary["notes"][0]):
        text = text.replace(json.dumps(name), json.dumps(f"{HOSTILE} {name}"))
    page, parsed = page_of(json.loads(text), tmp_path)
    assert "<script" not in page
    assert sum(HOSTILE in found for _, found in parsed.texts) >= 8
    for chart in SVG_ELEMENT.findall(page):
        ElementTree.fromstring(chart)


def test_many_channels_and_a_class_without_windows(summary, tmp_path):
    """More groups than panels, one channel in a group, one that is constant; a class that nobody does."""
    channel = summary["channels"][0]
    groups = ["acc", "acc", "gyro", "mag", "orientation", "heart_rate"] + ["more"] * 19
    summary["channels"] = [{**channel, "name": f"c{i}", "group": group} for i, group in enumerate(groups)]
    for example in summary["examples"].values():
        example["values"] = np.ones((64, len(groups))).tolist()
    del summary["examples"]["run"]
    for part in summary["counts"].values():
        part["run"] = 0
    for row in summary["minutes"].values():
        row["run"] = 0.0
    page, parsed = page_of(summary, tmp_path)
    assert len(SVG_ELEMENT.findall(page)) == 7
    assert "All 25" in parsed.of("summary")
    assert "heart_rate" in parsed.of("td")
    assert not any("heart_rate" in text for text in parsed.of("text"))


def test_lines_for_a_terminal(summary):
    summary["notes"] += ["incomplete: 3 of 9 files", "something else"]
    summary["minutes_note"] = "Samples count twice."
    first, second, head, *rows = description_lines(summary).split("\n")
    assert first.startswith("synthetic [synthetic]. Protocol subject: 5 subjects, 8 classes, 18 channels at 25 Hz, 0.2")
    assert second.startswith("Windows of 64 samples (2.56 s), every 32 samples (1.28 s): train ")
    assert head.split() == ["class", "minutes", "train", "validation", "test"]
    assert len({len(line) for line in (head, *rows[:8])}) == 1
    assert rows[8:] == ["Samples count twice.", "incomplete: 3 of 9 files"]
    summary["notes"] += ["incomplete: more"] * 9
    assert description_lines(summary).split("\n")[-1] == "... and 4 more on the page"
    assert [int(row.split()[2]) for row in rows[:8]] == list(summary["counts"]["train"].values())
    summary["own_tables"], summary["notes"] = True, ["2 subjects by the column 'p'", *["x is constant"] * 9]
    assert description_lines(summary).split("\n")[-10:] == summary["notes"]


def test_report_imports_no_model_and_no_jax():
    program = "import sys, dcdp_jax.report.describe; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    ours = {name for name in modules if name.startswith("dcdp_jax.") and not name.startswith("dcdp_jax.report")}
    assert ours <= {"dcdp_jax.errors", "dcdp_jax.runs", "dcdp_jax.runs.files"}
    assert not {"jax", "flax"} & set(modules)


def test_a_description_binds_no_run(tmp_path):
    """What was described may be trained with any config; what was trained is described with its own."""
    config = default.get_config()
    (tmp_path / "describe.html").write_text("")
    check_workdir(tmp_path, as_plain_data(config))
    make_workdir(tmp_path, as_plain_data(config))
    config.data.window = 99
    with pytest.raises(CheckpointError, match=r"data\.window"):
        check_workdir(tmp_path, as_plain_data(config))


def test_the_command(tmp_path):
    workdir = tmp_path / "run"
    status, output, errors = command("--mode=describe", f"--workdir={workdir}", *SMALL_DATA)
    assert (status, errors) == (0, "")
    assert output.splitlines()[-1] == str(workdir / "describe.html")
    assert [path.name for path in workdir.iterdir()] == ["describe.html"]
