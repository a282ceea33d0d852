"""--formats=web: a folder that any static server serves, in which a browser predicts files and a phone's own motion."""

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.recording import Channel
from dcdp_jax.data.table_cells import MISSING_NUMBERS
from dcdp_jax.data.table_fields import check_fields
from dcdp_jax.data.units import GRAVITY, sensors_of, unit_name
from dcdp_jax.errors import ConfigError
from dcdp_jax.report.page import ENVIRONMENT as REPORT
from dcdp_jax.runs.files import sha256
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.channels import describe_view
from dcdp_jax.serve.events import UNKNOWN, UNKNOWN_NAME
from dcdp_jax.serve.predict import trained_gravity
from dcdp_jax.serve.standalone import STATISTICS
from dcdp_jax.serve.timeline import colour, text_colour
from dcdp_jax.serve.web_runtime import MODULE, VERSION, WASM, find_runtime

# The page unpacks it. Servers do not know the suffix, and so do not send it as compressed content.
PACKED = f"{WASM}.packed"
NETWORK = "model.onnx"
SOURCES = Path(__file__).with_name("web")
# For each group that a phone measures: its name, the field of a motion event and its parts by axis, and the factors
# from the phone's unit, m/s^2 or degrees per second, to other units.
SENSORS: Mapping[str, tuple[str, str, Mapping[str, str], Mapping[str, float]]] = {
    "acc": (
        "acceleration",
        "accelerationIncludingGravity",
        {"x": "x", "y": "y", "z": "z"},
        {unit: size / GRAVITY["m/s^2"] for unit, size in GRAVITY.items()},
    ),
    "gyro": (
        "rotation",
        "rotationRate",
        {"x": "alpha", "y": "beta", "z": "gamma"},
        {"deg/s": 1.0, "rad/s": math.pi / 180},
    ),
}
# Fields of `data.table` that the page reads, and those that it cannot read.
READ = (
    *("delimiter", "decimal", "skip_lines", "units_rows", "line_end", "time", "time_unit", "subject", "recording"),
    *("repeated", "max_gap", "resample", "missing", "missing_values"),
)
UNREAD = ("preamble", "time_format", "beside")


class Site(NamedTuple):
    """Everything that the page needs besides the model."""

    table: ConfigDict  # the `data.table` part of a config
    smoothing: tuple[str, int]  # method and number of windows, see `Smoother`
    runtime: Mapping[str, bytes]  # {name: content} of the files of onnxruntime-web


def make_site(table: ConfigDict, smoothing: tuple[str, int]) -> Site:
    """Checks the fields and finds the runtime.

    Raises ConfigError if a field cannot be used, the page cannot read such tables, or the runtime is not found.
    """
    check_fields(table, any_channels=False)
    if unread := [f"data.table.{field}={table[field]!r}" for field in UNREAD if table[field]]:
        raise ConfigError(f"--formats=web: {unread[0]}, and the page reads tables without it")
    return Site(table, smoothing, find_runtime())


def write_site(
    folder: Path, card: ModelCard, exported: Mapping[str, Any], network: bytes, statistics: np.ndarray, site: Site
) -> int:
    """Writes the page and all that it loads into a new folder; returns how many bytes a browser loads.

    Args:
      folder: New folder.
      card: Card of the model.
      exported: Card of the exported folder, with the facts that the page shows and the first state of its switches.
      network: ONNX model with the outputs `probabilities` and, for each branch, `probabilities_BRANCH`.
      statistics: (s,) statistics of batch normalisation after training, the first value of the network's input
        `statistics`, whose next value is its output `next_statistics`; s may be 0.
      site: See `make_site`.
    """
    folder.mkdir()
    page_card = card_of_page(card, site) | {
        "serve": exported["serve"],
        "statistics": STATISTICS if statistics.size else None,
    }
    files = {path.name: path.read_bytes() for path in SOURCES.iterdir() if path.suffix != ".j2"}
    files["style.css"] = REPORT.get_template("style.css").render().encode()
    files["card.json"] = (json.dumps(page_card, indent=1, allow_nan=False) + "\n").encode()
    files[NETWORK] = network
    if statistics.size:
        files[STATISTICS] = statistics.astype("<f4").tobytes()
    files[MODULE] = site.runtime[MODULE]
    files[PACKED] = gzip.compress(site.runtime[WASM], mtime=0)
    files["index.html"] = index_page(card, exported, page_card).encode()
    digest = sha256(b"".join(name.encode() + content for name, content in sorted(files.items())))
    worker = TEMPLATES.get_template("sw.js.j2")
    names = ["./", *sorted(files)]
    files["sw.js"] = worker.render(version=digest[:16], files=names).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return sum(map(len, files.values()))


def card_of_page(card: ModelCard, site: Site) -> dict[str, Any]:
    """Returns the content of the page's card.json: the model card and the settings of the page."""
    table = site.table
    matched = len(table.channels) == len(card.inputs)
    return card.as_json() | {
        "input_rate": card.input_rate,
        "reading": {name: table[name] for name in READ}
        | {
            "header": list(table.header),
            "columns": [entry[0] for entry in table.channels] if matched else [],
            "missing_texts": list(MISSING_NUMBERS),
        },
        "smoothing": list(site.smoothing),
        **describe_view(card),
        "accelerations": accelerations_of(card),
        "motion": motion_sources(card.inputs),
        "colours": [colours_of(k) for k in range(len(card.class_names))],
        "unknown": {"label": UNKNOWN, "name": UNKNOWN_NAME, "colours": colours_of(UNKNOWN)},
        "network": NETWORK,
        "runtime": {"module": MODULE, "wasm": PACKED},
    }


def accelerations_of(card: ModelCard) -> list[dict[str, Any]]:
    """Returns the accelerations whose gravity the page compares with the training's.

    `axes` are positions among the inputs, `sizes` that of gravity in the unit and in others, and `trained` is whether
    the training's had gravity.
    """
    found, sensors = [], sensors_of(card.inputs)
    for sensor, trained in trained_gravity(card).items():
        axes = sensors.get(sensor, [])
        if axes and {card.inputs[i] for i in axes} <= {*card.channels}:
            size = GRAVITY[unit_name(sensor[2])]
            sizes = [size, *(other for other in GRAVITY.values() if other != size)]
            found.append({"name": f"{sensor[0]} at {sensor[1]}", "axes": axes, "sizes": sizes, "trained": trained})
    return found


def colours_of(label: int) -> dict[str, str]:
    """Returns the colour of a class or of `UNKNOWN`, and that of text on it."""
    return {"background": colour(label), "text": text_colour(colour(label))}


def motion_sources(inputs: Sequence[Channel]) -> list[dict[str, Any] | None]:
    """Returns the part of a phone's motion events from which each input is read; None for an input that a phone lacks.

    A phone is at one site, and has one accelerometer, whose values include gravity, and one gyroscope. Inputs of
    several sites, several of one axis, or in an unknown unit are not read from a phone. Of `body_` and `total_`
    acceleration, `total_` is.
    """
    sources: list[dict[str, Any] | None] = []
    one_site = len({channel.site for channel in inputs}) == 1
    for channel in inputs:
        _, field, parts, factors = SENSORS.get(channel.group, ("", "", {}, {}))
        axis = channel.name[-1:].lower()
        rivals = [c for c in inputs if c.group == channel.group and c.name[-1:].lower() == axis]
        total = len(rivals) == 1 or (channel.name.startswith("total_") and len(rivals) == 2)
        factor = factors.get(unit_name(channel.unit))
        there = one_site and total and axis in parts and factor
        sources.append({"field": field, "part": parts[axis], "factor": factor} if there else None)
    return sources


def index_page(card: ModelCard, exported: Mapping[str, Any], page_card: Mapping[str, Any]) -> str:
    """Returns the text of index.html."""
    method, over = page_card["smoothing"]
    facts = [
        ("accuracy on test data", f"{100 * exported['test']['accuracy']:.1f} %"),
        ("macro F1", f"{100 * exported['test']['f1_macro']:.1f} %"),
        ("parameters", f"{exported['parameters']:,}"),
        ("sampling rate", f"{card.input_rate:g} Hz"),
        ("window", f"{card.window / card.rate:g} s"),
        ("an answer every", f"{card.step / card.rate:g} s"),
        ("smoothing", f"{method} of {over} windows" if method else "none"),
    ]
    sources = [
        f"{SENSORS[c.group][0]} {c.name[-1]}" if s else ""
        for c, s in zip(card.inputs, page_card["motion"], strict=True)
    ]
    return TEMPLATES.get_template("index.html.j2").render(
        title=card.dataset,
        classes=[name.replace("_", " ") for name in card.class_names],
        marks=card.marks,
        facts=facts,
        switches=switches(card, page_card),
        time=page_card["reading"]["time"],
        channels=list(zip(card.inputs, sources, strict=True)),
        version=exported["versions"]["dcdp_jax"],
        runtime=VERSION,
    )


def switches(card: ModelCard, page_card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns name, text and state of each switch, and why it cannot be used; '' if it can."""
    adapt = {
        "name": "adapt",
        "text": "Adapt to the wearer, without labels",
        "on": page_card["serve"]["adapt"],
        "why": "" if page_card["statistics"] else "the model has no batch normalisation",
    }
    unknown = {"name": "unknown", "text": f"Say {UNKNOWN_NAME}", "on": page_card["serve"]["unknown"], "why": ""}
    if card.rejection is None:
        unknown["why"] = "the model has no threshold of confidence"
    elif UNKNOWN_NAME in card.class_names:
        unknown["why"] = f"the model has a class {UNKNOWN_NAME}"
    else:
        method, over = page_card["smoothing"]
        kind, windows = ("mean confidence", f" over {over} windows") if method else ("confidence", "")
        unknown["text"] += f" below a {kind} of {card.rejection.threshold:.2f}{windows}"
    return [adapt, unknown]


TEMPLATES = REPORT.overlay(loader=jinja2.FileSystemLoader(SOURCES), autoescape=jinja2.select_autoescape(["html.j2"]))
