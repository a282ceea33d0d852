"""The report of a run: one self-contained page made from its result files alone."""

import pathlib
from html import escape
from typing import Any

from dcdp_jax.report import tables
from dcdp_jax.report.charts import epoch_charts, step_charts
from dcdp_jax.report.page import figures, make_page, marks, section, tiles, write_page
from dcdp_jax.report.results import read_config, read_metrics, read_result


def write_report(workdir: pathlib.Path) -> pathlib.Path:
    """Writes `report.html` from `result.json`, `config.json` and `metrics.jsonl`.

    The page is complete or not there at all: it is written beside its place and then moved.

    Args:
      workdir: folder of a finished run.

    Returns:
      Path of the page.

    Raises:
      UserError: one of the three files is missing or damaged.
      OSError: the page could not be written.
    """
    page = _page(read_result(workdir), read_config(workdir), *read_metrics(workdir))
    return write_page(workdir / "report.html", page)


def _page(result: dict[str, Any], config: dict[str, Any], steps: list[Any], epochs: list[Any]) -> str:
    names, confusion = result["class_names"], result["confusion"]
    sections = [
        section("Scores", tables.score_table(result), "The epoch was chosen by macro F1 on the validation part."),
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
        section("Over the epochs", figures(epoch_charts(steps, epochs, result["best_epoch"]))),
        section(
            "Over the steps",
            figures(step_charts(steps, epochs, list(result["branches"]), _batch_size(config))),
            "Dashed: validation, once an epoch. Where a curve has a pale band there are more steps "
            "than fit: the line is the mean of neighbouring steps, the band their range.",
        ),
        section("Data split", tables.split_table(result)),
        f"<section><h2>Configuration</h2><details><summary>All fields</summary>{tables.config_table(config)}"
        "</details></section>",
        section("Origin", tables.table([], _origin(result), "texts")),
    ]
    title = f"{result['dataset']} · {result['protocol']}"
    return make_page(title, _header(result) + "\n".join(sections))


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
        "Best epoch (validation macro F1)": tables.text(result["best_epoch"]),
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
        ["Data fingerprint", tables.text(result["data_fingerprint"])],
        *([name, tables.text(version)] for name, version in pairs),
    ]


def _batch_size(config: dict[str, Any]) -> int | None:
    train = config.get("train")
    return train.get("batch_size") if isinstance(train, dict) else None


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return tables.ABSENT
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
