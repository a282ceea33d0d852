"""Kernels, busy and idle time of a device, from a trace of `jax.profiler`."""

import collections
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

KINDS = ("normalisation", "convolution", "optimiser", "copies", "other")
LIBRARY_KERNEL = re.compile(r"conv|gemm|cudnn|cutlass|xmma|wgrad|dgrad|fprop|cublas|splitk", re.IGNORECASE)
OPTIMIZER_SCOPE = "/optimizer/"


def operations(program: str) -> dict[str, str]:
    """Returns {`kernel_name` of an HLO instruction: op_name} of an optimised program's text."""
    found = re.findall(r'^\s+(?:ROOT )?%?([\w.\-]+) = .*?op_name="([^"]*)"', program, re.MULTILINE)
    return {kernel_name(instruction): op_name for instruction, op_name in found}


def kernel_name(instruction: str) -> str:
    """Returns the name that XLA gives the kernel of an HLO instruction.

    Example:
      >>> kernel_name("input_reduce_fusion.12")
      'input_reduce_fusion_12'
    """
    return re.sub(r"[.\-]", "_", instruction)


def kind_of(kernel: str, op_name: str) -> str:
    """Returns what a kernel is for, one of `KINDS`.

    Args:
      kernel: its name, which is an HLO instruction or a kernel of a library.
      op_name: of the HLO instruction, empty where it is not known.
    """
    if OPTIMIZER_SCOPE in op_name:
        return "optimiser"
    if "BatchNorm" in op_name:
        return "normalisation"
    if LIBRARY_KERNEL.search(kernel) or "/Conv1D" in op_name or "dot_general" in op_name:
        return "convolution"
    return "copies" if re.match(r"(wrapped_)?copy|memcpy|memset", kernel, re.IGNORECASE) else "other"


def kernels(file: Path) -> Iterator[tuple[str, str, float, float]]:
    """Yields name, HLO instruction (or nothing), start and end in ns of everything that ran on the devices.

    Where a trace has no device, as on CPU, those operations of the host that name an HLO instruction.
    """
    planes = list(jax.profiler.ProfileData.from_file(str(file)).planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    for plane in devices or planes:
        for line in plane.lines:
            if devices and not line.name.startswith("Stream"):
                continue
            for event in line.events:
                operation = next((str(value) for name, value in event.stats if name == "hlo_op"), "")
                if devices or operation:
                    yield event.name, operation, event.start_ns, event.start_ns + event.duration_ns


def summary(file: Path, steps: int, op_names: dict[str, str]) -> dict[str, Any]:
    """Returns kernels and ms per step by kind, busy ms and idle ms per step, and the kernels that take longest.

    Args:
      file: a trace of so many steps, an `xplane.pb`.
      steps: how many.
      op_names: of the program, see `operations`.
    """
    count: collections.Counter[str] = collections.Counter()
    taken: collections.Counter[str] = collections.Counter()
    longest: collections.Counter[str] = collections.Counter()
    spans = []
    for name, operation, start, end in kernels(file):
        op_name = op_names.get(kernel_name(operation)) or op_names.get(kernel_name(name)) or ""
        kind = kind_of(operation or name, op_name) if not LIBRARY_KERNEL.search(name) else kind_of(name, op_name)
        count[kind] += 1
        taken[kind] += end - start
        longest[f"{name[:60]} {op_name[-60:]}".strip()] += end - start
        spans.append((start, end))
    if not spans:
        return {"kernels": {}, "ms": {}, "busy_ms": 0.0, "idle_ms": 0.0, "longest": []}
    busy = covered(spans)
    whole = max(end for _, end in spans) - min(start for start, _ in spans)
    return {
        "kernels": {kind: count[kind] / steps for kind in KINDS},
        "ms": {kind: taken[kind] / 1e6 / steps for kind in KINDS},
        "busy_ms": busy / 1e6 / steps,
        "idle_ms": (whole - busy) / 1e6 / steps,
        "longest": [[name, ns / 1e6 / steps] for name, ns in longest.most_common(60)],
    }


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Returns the length of the union of intervals.

    Example:
      >>> covered([(0, 2), (1, 3), (5, 6)])
      4
    """
    total, reached = 0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total
