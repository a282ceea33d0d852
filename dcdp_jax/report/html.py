"""Writes the report of a run: one self-contained page, from the files of the run alone."""

import pathlib
from html import escape
from typing import Any

from dcdp_jax.calibration import calibration
from dcdp_jax.report import tables
from dcdp_jax.report.charts import Chart, epoch_charts, step_charts
from dcdp_jax.report.page import figures, make_page, marks, section, tiles, write_page
from dcdp_jax.report.plots import draw_reliability, draw_subjects
from dcdp_jax.report.predictions import by_subject
from dcdp_jax.report.robustness import absent_table, noise_charts
from dcdp_jax.report.worst import worst_windows
from dcdp_jax.runs.reading import FinishedRun, read_run

NO_PREDICTIONS = (
    "<p>This run has no predictions.csv; its command with <code>--mode=evaluate</code> leaves one and writes this "
    "page again.</p>"
)
NOT_MEASURED = (
    "<p>Not measured yet: the command of this run with <code>--mode=evaluate</code> measures it and writes this page "
    "again.</p>"
)
NO_CHECKPOINT = "<p>Not measured: a random forest leaves no checkpoint.</p>"
ROBUSTNESS_NOTE = (
    "Test part; measured after the model was selected, and nothing was chosen by it. An absent channel gives its "
    "training mean. «Fused» pushes that through the fusion; «fallback» leaves out every branch that hears nothing: it "
    "is the mean probability of the branches that are left, by their own classifiers."
)


def write_report(workdir: pathlib.Path) -> pathlib.Path:
    """Writes `report.html` from `result.json`, `config.json`, `metrics.jsonl`, and the other files of the run.

    The page is complete or not there at all: it is written beside its place and then moved.

    Args:
      workdir: folder of a finished run.

    Returns:
      Path of the page.

    Raises:
      UserError: one of the three files is missing, or one is damaged.
      OSError: the page could not be written.
    """
    return write_page(workdir / "report.html", _page(read_run(workdir)))


def _page(run: FinishedRun) -> str:
    result, names, confusion = run.result, run.result["class_names"], run.result["confusion"]
    sections = [
        section(
            "Scores", tables.score_table(result), f"Selection: {tables.SELECTIONS[result.get('selection', 'best')]}."
        ),
        section(
            "Accuracy per branch",
            tables.branch_table(result) if result["branches"] else "",
            "Each branch's own classifier beside the fusion of all.",
        ),
        section(
            "Scores per class",
            tables.class_table(names, confusion),
            "Test part. A class that is never predicted has precision 0, as in scikit-learn.",
        ),
        section(
            "Confusion matrix",
            tables.confusion_table(names, confusion),
            "Test part, in windows. The colour shows the share of the row, that is of the true class.",
        ),
        *_prediction_sections(run),
        section("Over the epochs", figures(epoch_charts(run.steps, run.epochs, result["best_epoch"]))),
        section(
            "Over the steps",
            figures(step_charts(run.steps, run.epochs, list(result["branches"]), _batch_size(run.config))),
            "Dashed: validation, once an epoch. Where a curve has a pale band there are more steps "
            "than fit: the line is the mean of neighbouring steps, the band their range.",
        ),
        _robustness_section(run),
        section("Data", _data_card(run)),
        f"<section><h2>Configuration</h2><details><summary>All fields</summary>{tables.config_table(run.config)}"
        "</details></section>",
        section("Origin", tables.table([], _origin(result), "texts")),
    ]
    title = f"{result['dataset']} · {result['protocol']}"
    return make_page(title, _header(result) + "\n".join(sections))


def _prediction_sections(run: FinishedRun) -> list[str]:
    """Returns calibration, subjects and worst windows, or a sentence on how to get them."""
    if run.predictions is None or run.worst is None:
        return [section("Calibration, subjects and errors", NO_PREDICTIONS)]
    bins = calibration(run.predictions.right, run.predictions.confidence)
    reliability = Chart(
        "Reliability",
        "Bars and dots: share of right predictions among those of a confidence; the dots stand at the bin's mean "
        "confidence. On the dotted line the model is as often right as it says; below, it is too sure. A bin of few "
        "windows says little: how many there are stands below.",
        draw_reliability("reliability", "Reliability diagram", bins),
    )
    rows = [
        [
            f"{i / len(bins.windows):.2f} to {(i + 1) / len(bins.windows):.2f}",
            f"{windows:,.0f}",
            tables.percent(confidence),
            tables.percent(accuracy),
        ]
        for i, (windows, accuracy, confidence) in enumerate(zip(*(column.tolist() for column in bins), strict=True))
        if windows
    ]
    counts = tables.table(["Confidence", "Windows", "Mean confidence, %", "Accuracy, %"], rows)
    subjects = by_subject(run.predictions)
    dots = Chart(
        "Accuracy by subject",
        "The lowest first. The dotted line is the accuracy over all test windows.",
        draw_subjects("subjects", "Accuracy by subject", subjects, float(run.predictions.right.mean())),
    )
    return [
        section(
            "Calibration and subjects",
            figures([reliability, dots]) + f"<details><summary>Calibration as a table</summary>{counts}</details>",
            f"Test part. Expected calibration error {tables.percent(bins.error())} %: the gap between confidence and "
            f"accuracy, the mean over all windows in {len(bins.windows)} bins.",
        ),
        section(
            "Most confident errors",
            worst_windows(run.worst),
            "Of each confusion the test window of highest confidence, in the units of the recordings and with the same "
            "axes for all. Of each group the first channels are drawn:",
        ),
    ]


def _robustness_section(run: FinishedRun) -> str:
    if run.robustness is None:
        forest = _field(run.config, "model", "name") == "random_forest"
        return section("Robustness", NO_CHECKPOINT if forest else NOT_MEASURED)
    content = absent_table(run.robustness) + figures(noise_charts(run.robustness))
    return section("Robustness", content, ROBUSTNESS_NOTE)


def _data_card(run: FinishedRun) -> str:
    """Returns the parts of the data, its marks and notes, and its fingerprint."""
    result = run.result
    facts = [
        ["Marks", ", ".join(map(tables.text, result["marks"])) or "none"],
        ["Window, samples", tables.text(_field(run.config, "data", "window"))],
        ["Step, samples", tables.text(_field(run.config, "data", "step"))],
        ["Classes", ", ".join(map(tables.text, result["class_names"]))],
        ["Data fingerprint", tables.text(result["data_fingerprint"])],
    ]
    notes = result.get("notes")
    listed = "".join(f"<li>{escape(tables.text(note))}</li>" for note in notes) if isinstance(notes, list) else ""
    return (
        tables.split_table(result)
        + tables.table([], facts, "texts")
        + (f'<ul class="notes">{listed}</ul>' if listed else "")
    )


def _header(result: dict[str, Any]) -> str:
    test, subjects = result["test"], result["subjects"].get("test")
    scores = {
        "Test accuracy": f"{tables.percent(test.get('accuracy'))} %",
        "Macro F1": f"{tables.percent(test.get('f1_macro'))} %",
        "Weighted F1": f"{tables.percent(test.get('f1_weighted'))} %",
        "Calibration error": f"{tables.percent(test.get('ece'))} %",
    }
    facts = {
        "Test windows": tables.number(result["windows"].get("test"), "{:,}"),
        "Test subjects": str(len(subjects)) if isinstance(subjects, list) else tables.text(subjects),
        "Selected epoch": tables.text(result["best_epoch"]),
        "Parameters": tables.number(result["parameters"], "{:,}"),
        "Wall time": _duration(result["wall_seconds"]),
        "Windows per second": tables.number(result["windows_per_second"], "{:,.0f}"),
        "Device": tables.text(result["device"]),
    }
    origin = f"Protocol {result['protocol']}, seed {tables.text(result['seed'])}"
    return (
        f"<header><h1>{escape(result['dataset'])}</h1>\n"
        f'<p class="subtitle">{escape(origin)}</p>\n'
        + marks(map(tables.text, result["marks"]))
        + tiles("scores", scores)
        + tiles("facts", facts)
        + "</header>\n"
    )


def _origin(result: dict[str, Any]) -> list[list[str]]:
    versions = result["versions"]
    pairs = versions.items() if isinstance(versions, dict) else [("versions", versions)]
    return [
        ["Command", tables.text(result["command"])],
        ["Git revision", tables.text(result["git_revision"])],
        *([name, tables.text(version)] for name, version in pairs),
    ]


def _batch_size(config: dict[str, Any]) -> int | None:
    return _field(config, "train", "batch_size")


def _field(config: dict[str, Any], group: str, name: str) -> Any:
    found = config.get(group)
    return found.get(name) if isinstance(found, dict) else None


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return tables.ABSENT
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
