"""The report of a made-up run: complete, self-contained, and safe against what its files may hold."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from dcdp_jax.calibration import class_scores
from dcdp_jax.errors import CheckpointError, UserError
from dcdp_jax.report import drawing
from dcdp_jax.report.charts import step_charts
from dcdp_jax.report.html import write_report
from dcdp_jax.runs.reading import read_metrics, read_result

VOID = {"meta", "br", "hr", "img", "link", "input"}
SVG_ELEMENT = re.compile(r"<svg.*?</svg>", re.DOTALL)
NAMES = ("precision", "recall", "f1")
SCORES = ("accuracy", "ece", *(f"{name}_{average}" for average in ("macro", "weighted") for name in NAMES))
HOSTILE = "</title></td><script>alert('x')</script> & \"$body\" ${css} $a_1$ 歩く"


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def make_result(rng: np.random.Generator, names: list[str], branches: tuple[str, ...]) -> dict[str, Any]:
    k = len(names)
    confusion = rng.poisson(1.2, (k, k)) + np.diag(rng.integers(20, 400, k))
    true, predicted = (np.repeat(axis.ravel(), confusion.ravel()) for axis in np.indices(confusion.shape))
    test = {"loss": 0.41237, "ece": 0.03914, "accuracy": float((true == predicted).mean())}
    for average in ("macro", "weighted"):
        means = precision_recall_fscore_support(true, predicted, average=average)[:3]
        test |= {f"{name}_{average}": float(mean) for name, mean in zip(NAMES, means, strict=True)}
    return {
        "dataset": "pamap2",
        "protocol": "standard",
        "seed": 3,
        "class_names": names,
        "test": test,
        "validation": {key: score * 0.97 for key, score in test.items()},
        "branches": {branch: float(rng.uniform(0.5, 0.9)) for branch in branches},
        "confusion": confusion.tolist(),
        "windows": {"train": 8123, "validation": 1022, "test": int(confusion.sum())},
        "subjects": {"train": [101, 102, 103, 104, 107, 108], "validation": [105], "test": [106]},
        "marks": ["synthetic", "leaky"],
        "data_fingerprint": "sha256:9f2b",
        "versions": {"jax": "0.10.2", "flax": "0.12.8"},
        "git_revision": None,
        "device": "cpu (2 cores)",
        "parameters": 7912345,
        "best_epoch": 7,
        "wall_seconds": 4571.3,
        "windows_per_second": 812.4,
        "command": "python launch.py --config=configs/pamap2.py",
        "another_key": [1, 2],
    }


def make_metrics(
    rng: np.random.Generator, branches: tuple[str, ...], epochs: int, steps_per_epoch: int
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    parts = [*branches, "fusion"] + ["projection"] * (len(branches) > 1)
    last = epochs * steps_per_epoch
    for epoch in range(1, epochs + 1):
        for step in range((epoch - 1) * steps_per_epoch + 1, epoch * steps_per_epoch + 1):
            part = step / last
            mean = {b: float(1 - 0.9 * np.exp(-(5 - 2 * i) * part)) for i, b in enumerate(branches)}
            mean = {b: float(np.clip(s + rng.normal(0, 0.04), 0.02, 0.99)) for b, s in mean.items()}
            line: dict[str, Any] = {
                "kind": "step",
                "step": step,
                "epoch": epoch,
                "loss": {
                    name: float(2 * np.exp(-3 * part) + rng.random() / 9) for name in ("total", *branches, "fusion")
                },
                "accuracy": 0.5,
                "learning_rate": 1e-3,
                "windows": 128,
                "S": {b: 128 * s for b, s in mean.items()},
                "gradient_norm": {name: float(np.exp(rng.normal(-2 * part, 0.4))) for name in parts},
                "update_norm": {name: float(np.exp(rng.normal(-3 - 2 * part, 0.2))) for name in parts},
                "windows_per_second": 800.0,
            }
            if len(branches) > 1:
                total = sum(mean.values())
                line["R"] = {b: s * (len(branches) - 1) / (total - s) for b, s in mean.items()}
                line["M"] = {b: float(1 - np.tanh(0.9 * max(r - 1, 0))) for b, r in line["R"].items()}
                line["loss"] |= {"contrast": float(4 - 2 * part), "align": 0.02}
            lines.append(line)
        f1 = float(0.85 - 0.6 * np.exp(-epoch / 3) + rng.normal(0, 0.01))
        validation: dict[str, Any] = dict.fromkeys(SCORES, f1 + 0.02) | {"f1_macro": f1}
        validation |= {"loss": 0.3 + np.exp(-epoch / 3), "windows": 1022}
        validation |= {"branches": dict.fromkeys(branches, 0.8), "S": {b: 1022 * mean[b] for b in branches}}
        if len(branches) > 1:
            validation["R"] = line["R"]
        train = {"loss": 0.1 + np.exp(-epoch / 3), "accuracy": f1 + 0.1}
        lines.append(
            {"kind": "epoch", "epoch": epoch, "step": step, "train": train, "validation": validation}
            | {"best": epoch == 7, "seconds": 12.5}
        )
    return lines


def make_workdir(
    workdir: Path,
    names: list[str],
    branches: tuple[str, ...] = ("res", "dense"),
    epochs: int = 10,
    steps_per_epoch: int = 5,
) -> Path:
    rng = np.random.default_rng(7)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "result.json", make_result(rng, names, branches))
    config = {"seed": 3, "data": {"name": "pamap2", "window": 171, "extra": {}}, "model": {"blocks": [3, 4]}}
    write_json(workdir / "config.json", config)
    lines = map(json.dumps, make_metrics(rng, branches, epochs, steps_per_epoch))
    (workdir / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return workdir


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return make_workdir(tmp_path / "run", ["lying", "sitting", "standing", "walking", "running", "cycling"])


def change_result(workdir: Path, **changes: object) -> None:
    result = json.loads((workdir / "result.json").read_text())
    write_json(workdir / "result.json", result | changes)


class Page(HTMLParser):
    """Checks that tags are balanced; keeps attributes and the text of headings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def has(self, text: str) -> bool:
        return any(text in found for found in self.texts)


def read_page(workdir: Path) -> tuple[str, Page]:
    page = write_report(workdir).read_text(encoding="utf-8")
    return page, Page(page)


def test_report_lies_in_the_workdir_and_nothing_else_is_left(workdir: Path) -> None:
    before = set(os.listdir(workdir))
    assert write_report(workdir) == workdir / "report.html"
    assert set(os.listdir(workdir)) == before | {"report.html"}


def test_same_files_give_the_same_page(workdir: Path) -> None:
    assert read_page(workdir)[0] == read_page(workdir)[0]


def test_page_is_self_contained(workdir: Path) -> None:
    page, parsed = read_page(workdir)
    assert "<script" not in page
    assert "@import" not in page
    links = [value for _, name, value in parsed.attributes if name in ("src", "href", "xlink:href", "action")]
    assert all(value is not None and value.startswith("#") for value in links)
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?([^)'\"]*)", page))


def test_ids_are_unique_and_every_reference_has_a_target(workdir: Path) -> None:
    page, parsed = read_page(workdir)
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]*)\)|href=\"#([^\"]*)\"", page)) != set()
    targets = {a or b for a, b in re.findall(r"url\(#([^)]*)\)|href=\"#([^\"]*)\"", page)}
    assert targets <= set(ids)


def test_every_score_is_shown_in_per_cent_with_two_decimals(workdir: Path) -> None:
    _, parsed = read_page(workdir)
    result = read_result(workdir)
    shares = [result[part][key] for part in ("test", "validation") for key in SCORES]
    for share in [*shares, *result["branches"].values()]:
        assert f"{100 * share:.2f}" in parsed.texts
    assert "0.4124" in parsed.texts
    assert "0.4000" in parsed.texts


def test_headline_shows_the_facts_of_the_run(workdir: Path) -> None:
    _, parsed = read_page(workdir)
    result = read_result(workdir)
    for fact in (f"{result['windows']['test']:,}", "7,912,345", "1 h 16 min", "812", "cpu (2 cores)", "7"):
        assert fact in parsed.texts
    for fact in ("pamap2", "Protocol standard, seed 3", "0.10.2", "sha256:9f2b", result["command"]):
        assert fact in parsed.texts
    assert "101, 102, 103, 104, 107, 108" in parsed.texts


def test_config_is_listed_with_dotted_names(workdir: Path) -> None:
    page, parsed = read_page(workdir)
    assert "<details>" in page
    for text in ("data.window", "171", "model.blocks", "[3, 4]", "data.extra", "{}"):
        assert text in parsed.texts


def test_class_scores_and_counts_are_shown(workdir: Path) -> None:
    _, parsed = read_page(workdir)
    confusion = read_result(workdir)["confusion"]
    for share in np.ravel(list(class_scores(np.array(confusion)).values())):
        assert f"{100 * share:.2f}" in parsed.texts
    for count in (*np.ravel(confusion), *map(sum, confusion)):
        assert str(count) in parsed.texts


def test_marks_are_explained(workdir: Path) -> None:
    _, parsed = read_page(workdir)
    assert "synthetic" in parsed.texts
    assert "leaky" in parsed.texts
    assert parsed.has("generated by a program")
    assert parsed.has("share samples")
    assert not parsed.has("data set was missing")
    change_result(workdir, marks=[])
    page, _ = read_page(workdir)
    assert 'class="badge"' not in page


def test_charts_are_xml_and_show_training_beside_validation(workdir: Path) -> None:
    page, parsed = read_page(workdir)
    charts = SVG_ELEMENT.findall(page)
    assert len(charts) == 9
    for chart in charts:
        ElementTree.fromstring(chart)
    for text in (
        "Accuracy of each branch",
        "validation macro F1",
        "training, total",
        "training, fusion",
        "validation, fusion",
    ):
        assert text in parsed.texts
    for text in ("res, validation", "dense, validation", "contrast", "projection"):
        assert text in parsed.texts
    assert parsed.has("the selected epoch, 7")


def test_cosines_of_gradients_are_drawn_where_they_were_measured(workdir: Path) -> None:
    page, _ = read_page(workdir)
    assert "Cosine of gradients" not in page
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "epoch":
            cosines = {"res": 0.5 - line["epoch"] / 10, "dense": 0.9}
            line["gradient_cosine"] = {"fusion": cosines, "shared": {"res": -1.0, "dense": 0.8}}
    (workdir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    page, parsed = read_page(workdir)
    for text in ("res, fusion", "res, all shared", "dense, fusion", "dense, all shared"):
        assert text in parsed.texts
    (chart,) = (found for found in SVG_ELEMENT.findall(page) if 'aria-label="Cosine of gradients"' in found)
    ElementTree.fromstring(chart)
    lines[-1]["gradient_cosine"]["fusion"]["res"] = 1.2
    (workdir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"gradient_cosine\.fusion"):
        write_report(workdir)


def test_confidence_is_divided_by_the_windows_or_the_batch() -> None:
    steps = [{"step": 1, "epoch": 1, "windows": 64, "S": {"res": 16.0}}, {"step": 2, "epoch": 1, "S": {"res": 16.0}}]
    (with_batch,) = step_charts(steps, [], ["res"], batch_size=64)
    (stated,) = step_charts([record | {"windows": 64} for record in steps], [], ["res"], batch_size=None)
    assert with_batch.svg == stated.svg
    assert step_charts(steps[1:], [], ["res"], batch_size=None) == []


def test_coefficients_above_1_are_in_the_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "svg_element", lambda figure, name, title: figure)
    for values, limits in (((0.2, 1.0), (-0.02, 1.02)), ((1.5, 2.0), (-0.04, 2.04)), ((-1.0, 0.5), (-1.04, 1.04))):
        curve = drawing.Line("res", "#000000", np.arange(2.0), np.array(values))
        (chart,) = drawing.draw("M", "M", "", [curve], "step", "M", "unit")
        assert chart[-1].axes[0].get_ylim() == pytest.approx(limits)


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path, [HOSTILE, "b", "c"], (f"res{HOSTILE}", "dense"))
    change_result(workdir, dataset=HOSTILE, command=HOSTILE, marks=[HOSTILE], versions={HOSTILE: HOSTILE})
    write_json(workdir / "config.json", {HOSTILE: {HOSTILE: [HOSTILE]}})
    page, parsed = read_page(workdir)
    assert "<script" not in page
    assert parsed.texts.count(HOSTILE) >= 6
    for chart in SVG_ELEMENT.findall(page):
        ElementTree.fromstring(chart)


def test_one_branch_has_no_ratio_and_no_modulation(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path, ["a", "b"], ("res",))
    page, parsed = read_page(workdir)
    assert len(SVG_ELEMENT.findall(page)) == 6
    assert parsed.has("Confidence S per window")
    assert not parsed.has("Confidence ratio R")
    assert not parsed.has("Modulation coefficient M")
    assert "contrast" not in parsed.texts


def test_three_branches_are_shown(tmp_path: Path) -> None:
    _, parsed = read_page(make_workdir(tmp_path, ["a", "b"], ("acc", "gyro", "mag")))
    for branch in ("acc", "gyro", "mag"):
        assert f"{branch}, validation" in parsed.texts


def test_many_steps_keep_the_page_small(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path, ["a", "b"], epochs=3, steps_per_epoch=1500)
    assert len(write_report(workdir).read_bytes()) < 1_000_000


def test_run_without_metrics_has_no_curves(workdir: Path) -> None:
    (workdir / "metrics.jsonl").write_text("")
    change_result(workdir, branches={}, best_epoch=None)
    page, parsed = read_page(workdir)
    assert "<svg" not in page
    assert not parsed.has("Over the epochs")
    assert not parsed.has("Accuracy per branch")


def test_absent_values_leave_a_gap_and_others_that_are_not_finite_are_refused(workdir: Path) -> None:
    path = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["loss"]["total"], lines[4]["S"]["res"], lines[6]["R"]["res"] = None, None, None
    lines[7]["gradient_norm"]["res"] = 0.0
    path.write_text("\n".join(map(json.dumps, lines)))
    assert len(SVG_ELEMENT.findall(read_page(workdir)[0])) == 9
    for value in (float("nan"), float("inf")):
        lines[3]["loss"]["total"] = value
        path.write_text("\n".join(map(json.dumps, lines)))
        with pytest.raises(UserError, match=r"metrics\.jsonl, line 4\b.*malformed"):
            write_report(workdir)


def test_later_line_of_a_step_counts(workdir: Path) -> None:
    path = workdir / "metrics.jsonl"
    steps, _ = read_metrics(workdir)
    with path.open("a") as file:
        file.write(json.dumps(steps[0] | {"accuracy": 0.125}) + "\n")
    again, _ = read_metrics(workdir)
    assert again == [steps[0] | {"accuracy": 0.125}, *steps[1:]]


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "step", "st',
        "",
        "[1]",
        '{"kind": "eval", "step": 1}',
        '{"kind": "step", "step": null}',
        '{"kind": "step", "step": 3}',
        '{"kind": "step", "epoch": 1, "step": 3, "windows": "all"}',
        '{"kind": "step", "epoch": 1, "step": 3, "S": 2.0}',
        '{"kind": "step", "epoch": 1, "step": 3, "S": {"res": "high"}}',
        '{"kind": "epoch", "epoch": 3, "step": 3, "train": {}}',
        '{"kind": "epoch", "epoch": 3, "step": 3, "train": {}, "validation": {"S": 1}}',
        '{"kind": "\xff"}',
    ],
)
def test_damaged_line_is_named(workdir: Path, line: str) -> None:
    path = workdir / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[2] = line.encode("latin-1")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}, line 3\b"):
        write_report(workdir)
    assert not (workdir / "report.html").exists()


@pytest.mark.parametrize("name", ["result.json", "config.json", "metrics.jsonl"])
def test_missing_file_is_named(workdir: Path, name: str) -> None:
    (workdir / name).unlink()
    with pytest.raises(UserError, match=re.escape(str(workdir / name))):
        write_report(workdir)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confusion": [[1, 2], [3, 4]]}, "6 x 6"),
        ({"confusion": [[1] * 6] * 5 + [[1, 1, 1, 1, 1, -1]]}, r"Expected `int` >= 0 - at `confusion\[5\]\[5\]`"),
        ({"test": 0.9}, "Expected `object`, got `float` - at `test`"),
    ],
)
def test_damaged_result_is_named(workdir: Path, changes: dict[str, Any], message: str) -> None:
    change_result(workdir, **changes)
    with pytest.raises(UserError, match=rf"result\.json.*{message}"):
        write_report(workdir)


def test_lacking_key_of_the_result_is_named(workdir: Path) -> None:
    result = json.loads((workdir / "result.json").read_text())
    del result["confusion"]
    write_json(workdir / "result.json", result)
    with pytest.raises(UserError, match=r"result\.json: .*missing required field `confusion`"):
        write_report(workdir)


def test_report_imports_no_model_and_no_jax() -> None:
    code = "import sys, dcdp_jax.report.html; print([m for m in sys.modules if m in ('jax', 'flax')])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-30, 3e38, None])
@pytest.mark.parametrize("count", [1, 2, 500])
def test_any_value_can_be_drawn(value: float | None, count: int) -> None:
    groups = ("loss", "S", "R", "M", "gradient_norm")
    steps = [
        {"step": step, "epoch": 1, "windows": 4} | {group: {"res": value} for group in groups} for step in range(count)
    ]
    charts = step_charts(steps, [], ["res"], batch_size=None)
    assert len(charts) == (0 if value is None else len(groups))
