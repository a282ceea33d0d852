"""--formats=web: a folder that any static server serves, in which a browser predicts files and a phone's own motion."""

import gzip
import hashlib
import json
import math
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.recording import Channel
from dcdp_jax.data.table_files import MISSING_NUMBERS
from dcdp_jax.data.tables import check_fields
from dcdp_jax.data.views import gravity_filter
from dcdp_jax.errors import ConfigError
from dcdp_jax.report.page import ENVIRONMENT as REPORT
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.timeline import colour, on

VERSION = "1.30.0"  # of onnxruntime-web
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
RUNTIME = {  # SHA-256 of the files of that version, the smallest of its builds
    MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
# The page unpacks it. No server knows the suffix, so that none unpacks it first.
PACKED = f"{WASM}.packed"
VARIABLE = "ONNXRUNTIME_WEB"
NETWORK = "model.onnx"
SOURCES = Path(__file__).with_name("web")
GRAVITY = 9.80665  # m/s^2 in a g
# What a phone reports of each group: its name, the field of an event and its parts by axis, and how many of a unit are
# one of the phone's, which are m/s^2 and degrees per second.
SENSORS: Mapping[str, tuple[str, str, Mapping[str, str], Mapping[str, float]]] = {
    "acc": (
        "acceleration",
        "accelerationIncludingGravity",
        {"x": "x", "y": "y", "z": "z"},
        {"m/s^2": 1.0, "m/s2": 1.0, "m/s²": 1.0, "g": 1 / GRAVITY, "mg": 1000 / GRAVITY},
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
    *("repeated", "max_gap", "resample", "missing"),
)
UNREAD = ("preamble", "time_format", "beside")


class Site(NamedTuple):
    """What the page needs beside the model.

    Attributes:
      table: the `data.table` part of a config.
      smoothing: method and number of windows, see `Smoother`.
      runtime: {name: content} of the files of onnxruntime-web.
    """

    table: ConfigDict
    smoothing: tuple[str, int]
    runtime: Mapping[str, bytes]


def make_site(table: ConfigDict, smoothing: tuple[str, int]) -> Site:
    """Checks the fields and finds the runtime, see `Site`.

    Raises:
      ConfigError: the page cannot read such tables, or onnxruntime-web is not to be had.
    """
    check_fields(table, any_channels=False)
    for field in UNREAD:
        if table[field]:
            raise ConfigError(
                f"--formats=web: data.table.{field}={table[field]!r}, and the page reads tables without it"
            )
    return Site(table, smoothing, find_runtime())


def find_runtime() -> dict[str, bytes]:
    """Returns the files of onnxruntime-web, from the folder that `ONNXRUNTIME_WEB` names, else by npm.

    Raises:
      ConfigError: they are not there, npm is not or fails, or a file is not that of the pinned version.
    """
    if folder := os.environ.get(VARIABLE):
        where, files = folder, files_of_folder(Path(folder))
    else:
        where, files = f"onnxruntime-web@{VERSION} of npm", files_of_npm()
    for name, content in files.items():
        if (found := hashlib.sha256(content).hexdigest()) != RUNTIME[name]:
            raise ConfigError(
                f"{where}: {name} has the SHA-256 {found[:12]}, expected {RUNTIME[name][:12]} of version {VERSION}"
            )
    return files


def files_of_folder(folder: Path) -> dict[str, bytes]:
    """Reads the runtime's files from an installed package, node_modules/onnxruntime-web."""
    for name in RUNTIME:
        if not (folder / "dist" / name).is_file():
            raise ConfigError(
                f"{VARIABLE}={folder}: no dist/{name} there; expected the folder node_modules/onnxruntime-web of "
                f"version {VERSION}"
            )
    return {name: (folder / "dist" / name).read_bytes() for name in RUNTIME}


def files_of_npm() -> dict[str, bytes]:
    """Fetches the package by npm, which keeps it in a cache of its own, and returns the runtime's files."""
    otherwise = f"or set {VARIABLE} to an installed node_modules/onnxruntime-web"
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError(
            f"--formats=web needs onnxruntime-web {VERSION}, and npm, which fetches it, is not installed: install "
            f"Node.js, {otherwise}"
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--prefer-offline", "--silent"]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if finished.returncode or not archives:
            said = (finished.stderr.strip() or "no message").splitlines()
            raise ConfigError(
                f"--formats=web needs onnxruntime-web {VERSION}, and npm cannot fetch it ({said[0]}); connect to the "
                f"network, {otherwise}"
            )
        with tarfile.open(archives[0]) as archive:
            return {name: read_member(archive, f"package/dist/{name}") for name in RUNTIME}


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """Returns the content of a file in an archive; raises ConfigError where it is not there."""
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise ConfigError(f"onnxruntime-web {VERSION} of npm holds no {name}")
    return file.read()


def write_site(folder: Path, card: ModelCard, exported: Mapping[str, Any], network: bytes, site: Site) -> int:
    """Writes the page and all that it loads into a new folder.

    Args:
      folder: to make.
      card: of the model.
      exported: content of the exported folder's card, for what the page says about the model.
      network: ONNX model with the outputs `probabilities` and, for each branch, `probabilities_BRANCH`.
      site: from `make_site`.

    Returns:
      The bytes that a browser loads.
    """
    folder.mkdir()
    page_card = card_of_page(card, site)
    files = {name: (SOURCES / name).read_bytes() for name in static_files()}
    files["style.css"] = REPORT.get_template("style.css").render().encode()
    files["card.json"] = (json.dumps(page_card, indent=1, allow_nan=False) + "\n").encode()
    files[NETWORK] = network
    files[MODULE] = site.runtime[MODULE]
    files[PACKED] = gzip.compress(site.runtime[WASM], mtime=0)
    files["index.html"] = index_page(card, exported, page_card).encode()
    digest = hashlib.sha256(b"".join(name.encode() + content for name, content in sorted(files.items())))
    worker = TEMPLATES.get_template("sw.js.j2")
    names = ["./", *sorted(files)]
    files["sw.js"] = worker.render(version=digest.hexdigest()[:16], files=names).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return sum(map(len, files.values()))


def static_files() -> list[str]:
    """Returns the names of the page's own files that are served as they are."""
    return sorted(path.name for path in SOURCES.iterdir() if path.suffix != ".j2")


def card_of_page(card: ModelCard, site: Site) -> dict[str, Any]:
    """Returns the content of the page's card.json: the model card, and how the page reads, computes and draws."""
    table = site.table
    reading: dict[str, Any] = {name: table[name] for name in READ}
    matched = len(table.channels) == len(card.inputs)
    reading |= {
        "header": list(table.header),
        "columns": [entry[0] for entry in table.channels] if matched else [],
        "missing_texts": list(MISSING_NUMBERS),
    }
    sections, steady = gravity_filter(card.rate) if card.view == "derived" else (np.zeros((0, 6)), np.zeros((0, 2, 1)))
    return card.as_json() | {
        "input_rate": card.input_rate,
        "reading": reading,
        "smoothing": list(site.smoothing),
        "gravity": {"sections": sections.tolist(), "steady": steady[:, :, 0].tolist()},
        "motion": motion_sources(card.inputs),
        "colours": [{"background": colour(k), "text": on(colour(k))} for k in range(len(card.class_names))],
        "network": NETWORK,
        "runtime": {"module": MODULE, "wasm": PACKED},
    }


def motion_sources(inputs: Sequence[Channel]) -> list[dict[str, Any] | None]:
    """Returns what of a phone's motion events each input is, None where a phone does not have it.

    A phone is at one site, and has one accelerometer, whose values include gravity, and one gyroscope. Inputs of
    several sites, several of one axis, or in a unit that is not known are not a phone's; `total_` acceleration is.
    """
    sources: list[dict[str, Any] | None] = []
    one_site = len({channel.site for channel in inputs}) == 1
    for channel in inputs:
        _, field, parts, factors = SENSORS.get(channel.group, ("", "", {}, {}))
        axis = channel.name[-1:].lower()
        rivals = [c for c in inputs if c.group == channel.group and c.name[-1:].lower() == axis]
        total = len(rivals) == 1 or (channel.name.startswith("total_") and len(rivals) == 2)
        there = one_site and total and axis in parts and channel.unit in factors
        sources.append(
            {"field": field, "part": parts[axis], "factor": factors[channel.unit]} if there else None,
        )
    return sources


def index_page(card: ModelCard, exported: Mapping[str, Any], page_card: Mapping[str, Any]) -> str:
    """Returns the text of index.html."""
    facts = [
        ("accuracy on test data", f"{100 * exported['test']['accuracy']:.1f} %"),
        ("macro F1", f"{100 * exported['test']['f1_macro']:.1f} %"),
        ("parameters", f"{exported['parameters']:,}"),
        ("sampling rate", f"{card.input_rate:g} Hz"),
        ("window", f"{card.window / card.rate:g} s"),
        ("an answer every", f"{card.step / card.rate:g} s"),
        ("smoothing", f"{site_smoothing(page_card['smoothing'])}"),
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
        time=page_card["reading"]["time"],
        channels=list(zip(card.inputs, sources, strict=True)),
        version=exported["versions"]["dcdp_jax"],
        runtime=VERSION,
    )


def site_smoothing(smoothing: Sequence[Any]) -> str:
    """Returns how predictions are smoothed, for a reader."""
    method, over = smoothing
    return f"{method} of {over} windows" if method else "none"


TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(SOURCES),
    autoescape=jinja2.select_autoescape(["html.j2"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
