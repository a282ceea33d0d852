"""Training steps on a GPU against PyTorch's, in one call of a few minutes: `make benchmark-gpu MINUTES=9`.

    python benchmarks/gpu.py --minutes 9 --out DIR [--only TEXT ...] [--before CHECKOUT ...] [--at-once 3]
        [--seconds 3] [--small] [--steps N] [--batch N] [--width N]

Run it from the repository's root on a machine with PyTorch and the packages of the base; nothing needs to be installed
from here, and code that cannot be imported, as for want of a package, is named at the start. Each contender
(`contenders.py`, the most telling first) is compiled in a process of its own beside the others, which share a cache of
compiled programs. As soon as one is ready, all others are stopped (SIGSTOP), it is timed with nothing else on the
machine, and ends. Every stage is printed and written at once: `stages.jsonl` as it comes, `table.md` anew after each.
What does not fit into the minutes is named there. `--small` is the same with a tiny network, for a test on CPU. Times
of compilation are those beside the other processes.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import machine
from contenders import Contender, contenders

SHAPES: dict[str, dict[str, Any]] = {
    "t128": {"batch": 128, "time": 128, "channels": (6, 3), "classes": 6},
    "t30": {"batch": 128, "time": 30, "channels": (63, 50), "classes": 18},
}
SMALL = {"batch": 8, "time": 16, "width": 2, "resnet_blocks": (1, 1), "densenet_blocks": (1, 1), "samples": 500}
ROOT = Path(__file__).parents[1]
# Time to leave at the end for what runs: a contender is started if it can be compiled within so many seconds.
LEAST = 45.0
DRAIN = 0.3


def sizes_of(contender: Contender, asked: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields of `workload.Shape`."""
    given = {"batch": asked.batch, "width": asked.width}
    return SHAPES[contender.shape] | (SMALL if asked.small else {}) | {name: x for name, x in given.items() if x}


class Process:
    """A worker that compiles a contender and waits to be told to time it."""

    def __init__(self, contender: Contender, asked: argparse.Namespace, cache: str, stages: queue.Queue) -> None:
        fields = contender._asdict()
        checkout = Path(fields.pop("checkout") or ROOT)
        given = {"contender": fields, "sizes": sizes_of(contender, asked)}
        given["size"] = 256 if asked.small else 8192
        self.contender, self.began, self.ready = contender, time.monotonic(), False
        self.log = Path(cache) / f"{len(list(Path(cache).glob('*.log')))}.log"
        flags = " ".join([os.environ.get("XLA_FLAGS", ""), *contender.flags]).strip()
        environment = search_path(checkout) | {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            "TORCHINDUCTOR_CACHE_DIR": str(Path(cache) / "inductor"),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.45",
            **({"XLA_FLAGS": flags} if flags else {}),
        }
        self.child = subprocess.Popen(
            [
                sys.executable,
                str(checkout / "benchmarks" / "worker.py"),
                json.dumps(given | {"seconds": asked.seconds}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            env=environment,
            text=True,
            start_new_session=True,  # a group of its own, so that its compilers stop with it
        )
        threading.Thread(target=self.listen, args=(stages,), daemon=True).start()

    def listen(self, stages: queue.Queue) -> None:
        """Passes on what the worker writes, and its end."""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            stages.put((self, json.loads(line)))
        stages.put((self, {"stage": "end", "code": self.child.wait()}))

    def signal(self, number: int) -> None:
        """Sends a signal to the worker and its compilers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)

    def go(self) -> None:
        """Tells the worker to time its contender."""
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write("go\n")
            self.child.stdin.flush()


class Records:
    """What was found, written as it comes."""

    def __init__(self, asked: argparse.Namespace) -> None:
        folder = asked.out
        folder.mkdir(parents=True, exist_ok=True)
        self.began, self.asked = time.monotonic(), asked
        self.table = folder / "table.md"
        self.stages: TextIO = (folder / "stages.jsonl").open("w")
        self.found: dict[Contender, dict[str, Any]] = {}

    def add(self, contender: Contender, stage: dict[str, Any]) -> None:
        """Writes and prints one stage of a contender, and the table anew."""
        self.found.setdefault(contender, {})[stage["stage"]] = stage
        at = round(time.monotonic() - self.began, 1)
        self.stages.write(json.dumps({"at": at, "contender": contender._asdict(), **stage}) + "\n")
        self.stages.flush()
        print(f"[{at:6.1f} s] {contender.name()}: {brief(stage)}", flush=True)
        self.table.write_text(self.markdown())

    def markdown(self) -> str:
        """Formats all that is known as Markdown, ratios against PyTorch eager of the same shape and precision."""
        medians = {
            one: statistics.median(stages["times"]["ms"]) for one, stages in self.found.items() if "times" in stages
        }
        lines = [
            "| contender | ms a step, median (min - max) | windows/s | times eager | times one seed | kernels a step | "
            "busy ms | idle ms | peak MiB | to the first step, s |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for one, stages in self.found.items():
            if one.kind == "ceilings" or one.kind == "same":
                continue
            eager = next(
                (ms for other, ms in medians.items() if other[:3] == ("torch", *one[1:3]) and other.mode == "eager"),
                None,
            )
            single = medians.get(one._replace(seeds=1)) if one.seeds > 1 else None
            known, phases = medians.get(one), stages.get("ready", {})
            profile, peak = stages.get("kernels", {}), stages.get("memory", {}).get("peak_bytes")
            cells = [
                spread(stages["times"]["ms"])
                if known
                else next((stages[s]["why"] for s in ("skipped", "failed") if s in stages), "not reached"),
                f"{1e3 * sizes_of(one, self.asked)['batch'] * one.seeds / known:.0f}" if known else "",
                f"{eager * one.seeds / known:.2f}" if known and eager else "",
                f"{known / single:.2f}" if known and single else "",
                f"{sum(profile['kernels'].values()):.0f}" if profile else "",
                f"{profile['busy_ms']:.2f}" if profile else "",
                f"{profile['idle_ms']:.2f}" if profile else "",
                f"{peak / 2**20:.0f}" if peak else "",
                f"{sum(v for name, v in phases.items() if name != 'stage'):.1f}" if phases else "",
            ]
            lines.append(f"| {one.name()} | {' | '.join(cells)} |")
        for stages in self.found.values():
            for stage in ("equality", "ceilings"):
                if stage in stages:
                    lines += ["", brief(stages[stage])]
        return "\n".join(lines) + "\n"


def brief(stage: dict[str, Any]) -> str:
    """Formats a stage in one line."""
    if stage["stage"] == "times":
        return f"{spread(stage['ms'])} ms a step"
    if stage["stage"] == "kernels":
        by_kind = ", ".join(f"{kind} {n:.0f} in {stage['ms'][kind]:.2f} ms" for kind, n in stage["kernels"].items())
        return f"{by_kind}; busy {stage['busy_ms']:.2f} ms, idle {stage['idle_ms']:.2f} ms"
    rest = {name: value for name, value in stage.items() if name not in ("stage", "log")}
    shown = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in rest.items())
    return f"{stage['stage']} {', '.join(shown)}"


def spread(values: list[float]) -> str:
    """Formats the median, the least and the most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, default=Path("benchmark-gpu"))
    parser.add_argument("--only", nargs="+", default=(), help="contenders whose names have all of these words")
    parser.add_argument(
        "--before", nargs="+", default=(), help="folders with other commits, to be timed beside this one"
    )
    parser.add_argument("--at-once", type=int, default=max(1, min(3, (os.cpu_count() or 2) // 2)))
    parser.add_argument("--seconds", type=float, default=3.0, help="of timing each")
    parser.add_argument("--steps", type=int, default=0, help="in one call instead of each contender's own; 1 on CPU")
    parser.add_argument("--batch", type=int, default=0, help="instead of 128")
    parser.add_argument("--width", type=int, default=0, help="instead of 64")
    parser.add_argument("--small", action="store_true", help="a tiny network, to test this script")
    asked = parser.parse_args()
    check_imports([ROOT, *map(Path, asked.before)])
    end = time.monotonic() + 60 * asked.minutes
    records = Records(asked)
    chosen = (one for one in contenders(asked.before) if all(word in one.name() for word in asked.only))
    waiting = [one._replace(steps=asked.steps or min(one.steps, 2 if asked.small else one.steps)) for one in chosen]
    with tempfile.TemporaryDirectory() as cache:
        compare(waiting, asked, cache, records, end)
    print(f"\n{records.markdown()}\n{machine.describe('jax', 'torch')}")


def check_imports(checkouts: Sequence[Path]) -> None:
    """Ends the program with the reason if the code of a checkout cannot be imported, as where a package is missing."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", "import jax_worker"], stderr=subprocess.PIPE, env=search_path(checkout), text=True
        )
        for checkout in checkouts
    ]
    for checkout, child in zip(checkouts, children, strict=True):
        _, errors = child.communicate()
        if child.returncode:
            sys.exit(f"error: {checkout.resolve()}: {errors.strip().splitlines()[-1]}")


def search_path(checkout: Path) -> dict[str, str]:
    """Returns the environment variables of a process that runs the code of a checkout."""
    own = checkout.resolve(), checkout.resolve() / "benchmarks"
    paths = [*map(str, own), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def compare(waiting: list[Contender], asked: argparse.Namespace, cache: str, records: Records, end: float) -> None:
    """Compiles and times contenders until all are done or the time is over."""
    stages: queue.Queue[tuple[Process, dict[str, Any]]] = queue.Queue()
    running: list[Process] = []
    least = min(LEAST, 20 * asked.minutes)
    timed: Process | None = None
    try:
        while waiting or running:
            while waiting and len(running) < asked.at_once and time.monotonic() < end - least and timed is None:
                running.append(Process(waiting.pop(0), asked, cache, stages))
            if not running or time.monotonic() > end:
                break
            try:
                process, stage = stages.get(timeout=max(0.05, min(1.0, end - time.monotonic())))
            except queue.Empty:
                continue
            if stage["stage"] == "end":
                running.remove(process)
                if stage["code"] != 0:
                    records.add(process.contender, {"stage": "failed", **failure(process)})
            else:
                records.add(process.contender, stage)
                process.ready = stage["stage"] == "ready"
            if process is timed and stage["stage"] == "end":
                timed = None
                for other in running:
                    other.signal(signal.SIGCONT)
            if timed is None and (timed := next((one for one in running if one.ready), None)):
                for other in running:
                    if other is not timed:
                        other.signal(signal.SIGSTOP)
                time.sleep(DRAIN)
                timed.ready = False
                timed.go()
    finally:
        for process in running:
            process.signal(signal.SIGKILL)
            process.child.wait()
    for process in running:
        records.add(process.contender, {"stage": "skipped", "why": "cut by the end of the time"})
    for contender in waiting:
        records.add(contender, {"stage": "skipped", "why": "skipped: no time left"})


def failure(process: Process) -> dict[str, str]:
    """Returns what seems to be the reason, in one line, and the end of what a worker wrote to its log."""
    text = process.log.read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "Unknown flag" in line]
    why = f"failed: {(errors or lines or ['no output'])[-1][:200]}".replace("|", "/")
    return {"why": why, "log": text[-3000:]}


if __name__ == "__main__":
    main()
