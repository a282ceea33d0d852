"""What `gpu.py` compares, in order of value."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

COMMAND_BUFFERS = "--xla_gpu_enable_command_buffer=+convolution,+while"
UNROLLED = "--xla_gpu_command_buffer_unroll_loops=true"
DOUBLE_BUFFERING = "--xla_gpu_enable_while_loop_double_buffering=true"
CONV_FUSION = "--xla_gpu_experimental_enable_conv_fusion=true"


class Contender(NamedTuple):
    """One program to compile and to time.

    Attributes:
      kind: `jax`, `torch`, `same` (compares the two in value, without timing) or `ceilings` (of the device).
      shape: a key of `gpu.SHAPES`.
      precision: one of `dcdp_jax.config.PRECISIONS`.
      seeds: trained at once; of `jax`.
      steps: in one call; of `jax`, in one dispatch.
      form: of the convolutions, a key of `jax_worker.FORMS`; of `jax`.
      flags: for XLA; of `jax`.
      mode: `eager`, `compile` or `graphs` (torch.compile with mode reduce-overhead); of `torch`.
      checkout: a folder with another commit of this repository, whose code is timed instead; of `jax`.
    """

    kind: str
    shape: str = "t128"
    precision: str = "tf32"
    seeds: int = 1
    steps: int = 32
    form: str = "default"
    flags: tuple[str, ...] = ()
    mode: str = ""
    checkout: str = ""

    def name(self) -> str:
        """Returns a name for tables, without what is as usual."""
        if self.kind == "ceilings":
            return "ceilings"
        parts = {"jax": "dcdp_jax", "torch": "PyTorch", "same": "equality"}[self.kind], self.shape
        if self.kind == "same":
            return " ".join(parts)
        rest = [self.precision, self.mode, *self.flags]
        rest += [f"{self.seeds} seeds"] if self.seeds > 1 else []
        rest += [f"{self.steps} a dispatch"] if self.kind == "jax" and self.steps != 32 else []
        rest += [f"convolutions {self.form}"] if self.form != "default" else []
        rest += [f"in {self.checkout}"] if self.checkout else []
        return " ".join([*parts, *(part for part in rest if part)])


def contenders(checkouts: Sequence[str] = ()) -> Iterator[Contender]:
    """Yields all contenders, the most telling first, among them the default one of other checkouts."""

    def pytorch(**options: str) -> Iterator[Contender]:
        return (Contender("torch", steps=8, mode=mode, **options) for mode in ("compile", "eager", "graphs"))

    yield Contender("ceilings")
    yield Contender("jax")
    yield from (Contender("jax", checkout=checkout) for checkout in checkouts)
    yield Contender("jax", flags=(COMMAND_BUFFERS,))
    yield from pytorch()
    yield Contender("jax", seeds=8)
    yield Contender("same")
    yield Contender("jax", precision="bfloat16")
    yield from pytorch(precision="bfloat16")
    yield Contender("jax", form="gradients by the library")
    yield Contender("jax", form="products", flags=(COMMAND_BUFFERS,))
    yield Contender("jax", seeds=8, flags=(COMMAND_BUFFERS,))
    yield Contender("jax", shape="t30")
    yield from pytorch(shape="t30")
    yield Contender("jax", precision="float32")
    yield from pytorch(precision="float32")
    yield Contender("jax", form="library")
    yield Contender("jax", steps=1, flags=(COMMAND_BUFFERS,))
    yield Contender("jax", seeds=16)
    yield Contender("jax", flags=(DOUBLE_BUFFERING,))
    yield Contender("jax", flags=(COMMAND_BUFFERS, UNROLLED))
    yield Contender("jax", flags=(CONV_FUSION,))
    yield Contender("jax", shape="t30", precision="bfloat16")
    yield from pytorch(shape="t30", precision="bfloat16")
    yield Contender("jax", form="products")
    yield Contender("jax", seeds=5)
    yield Contender("jax", shape="t30", precision="float32")
    yield from pytorch(shape="t30", precision="float32")
    yield Contender("jax", steps=1)


class Prepared(NamedTuple):
    """A contender that is compiled.

    Attributes:
      phases: seconds of each phase up to the first step.
      run: takes all steps of a round and waits for them; None where there is nothing to time.
      steps: of a round.
      afterwards: {stage: what to find out after timing}.
    """

    phases: dict[str, float]
    run: Callable[[], None] | None
    steps: int
    afterwards: dict[str, Callable[[], dict[str, Any]]]
