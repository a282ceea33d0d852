"""One contender of `gpu.py` in a process of its own: compiles it, and times it when told to.

Writes JSON lines to standard output: `ready` with the seconds of each phase, then, once a line has come on standard
input, `times`, and what else the contender has to tell.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

BEGAN = time.perf_counter()

from contenders import Contender  # noqa: E402 - imports are part of what is measured

LONGEST_ROUNDS = 200


def say(stage: str, **found: Any) -> None:
    """Writes one stage."""
    print(json.dumps({"stage": stage, **found}), file=OUTPUT, flush=True)


def main() -> None:
    asked = json.loads(sys.argv[1])
    contender = Contender(**tuples(asked["contender"]))
    asked["sizes"] = tuples(asked["sizes"])
    if contender.kind == "ceilings":
        import jax_worker

        prepared = jax_worker.ceilings(asked["size"])
    elif contender.kind == "torch":
        import torch_worker

        prepared = torch_worker.prepare(contender, asked["sizes"], BEGAN)
    else:
        import jax_worker

        prepare = jax_worker.compare if contender.kind == "same" else jax_worker.prepare
        prepared = prepare(contender, asked["sizes"], BEGAN)
    say("ready", **prepared.phases)
    if not sys.stdin.readline():
        return
    if prepared.run:
        say("times", **rounds(prepared.run, prepared.steps, asked["seconds"]))
    for stage, find in prepared.afterwards.items():
        say(stage, **find())


def tuples(given: dict[str, Any]) -> dict[str, Any]:
    """Returns what JSON has made of tuples as tuples again."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def rounds(run: Callable[[], None], steps: int, seconds: float) -> dict[str, Any]:
    """Returns the milliseconds of a step in each of many calls, after two that are not counted."""
    run()
    run()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or (time.perf_counter() < end and len(taken) < LONGEST_ROUNDS):
        began = time.perf_counter()
        run()
        taken.append(1e3 * (time.perf_counter() - began) / steps)
    return {"ms": taken}


if __name__ == "__main__":
    # What libraries print must not come between the lines.
    OUTPUT = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main()
