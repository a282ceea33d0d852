"""Maps steps over devices and lays out their arrays; no other module depends on devices or the mapping strategy."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dcdp_jax.config import AUTO, PRECISIONS
from dcdp_jax.errors import ConfigError

AXIS = "data"
STATES = "states"


def keep_compiled_programs(cache: Path) -> None:
    """Keeps compiled programs for later processes, in `cache/compiled` unless JAX_COMPILATION_CACHE_DIR is set."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def automatic_precision(device: Any) -> str:
    """Returns the precision for `auto`: `tf32` on NVIDIA GPUs of compute capability 8.0 or above, else `float32`."""
    # "8.0" on NVIDIA's GPUs; AMD's have names such as "gfx90a", and CPUs and TPUs have none.
    major = str(getattr(device, "compute_capability", "")).partition(".")[0]
    return "tf32" if device.platform == "gpu" and major.isdecimal() and int(major) >= 8 else "float32"


def make_cpu_devices(count: int) -> None:
    """Gives a process `count` CPU devices unless JAX_NUM_CPU_DEVICES is set. Must be called before JAX is used."""
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", count)


class Devices:
    """Devices over which a batch is divided.

    Attributes:
      devices: of all processes, in order.
      strategy: how a step is mapped over the devices: by `jax.pmap`, or by `jax.jit` of `jax.shard_map` over a mesh.
      precision: precision of the steps, one of `PRECISIONS`.
    """

    def __init__(
        self, count: int, strategy: str = "pmap", platform: str | None = None, precision: str = "float32"
    ) -> None:
        """Takes the first devices of every process.

        Args:
          count: number of devices of each process; 0 for all.
          strategy: one of `STRATEGIES`.
          platform: of the devices; None for JAX's default.
          precision: precision of the steps, `AUTO` or one of `PRECISIONS`.

        Raises:
          ConfigError: a process has fewer devices, or the processes have different numbers of them.
        """
        available = jax.local_devices(backend=platform)
        if not 0 <= count <= len(available):
            raise ConfigError(f"parallel.devices={count}, but there are {len(available)} ({available[0].platform})")
        self.strategy = strategy
        local = available[: count or None]
        self.precision = automatic_precision(local[0]) if precision == AUTO else precision
        dtype, self._products = PRECISIONS[self.precision]
        self._dtype = jnp.dtype(dtype)
        by_process = [
            [device for device in jax.devices(platform) if device.process_index == process][: count or None]
            for process in range(jax.process_count())
        ]
        if any(len(row) != len(local) for row in by_process):
            numbers = ", ".join(str(len(row)) for row in by_process)
            raise ConfigError(f"the processes have {numbers} devices; choose one number with parallel.devices")
        self.devices = [device for row in by_process for device in row]
        # pmap takes the arrays of one process, jit global arrays of all processes.
        mesh = Mesh(np.array(local if strategy == "pmap" else self.devices), (AXIS,))
        self._mesh = mesh
        self._replicated = NamedSharding(mesh, PartitionSpec())

        def pick(arrays: Sequence[jax.Array], place: jax.Array, shapes: Sequence[tuple[int, ...]]) -> list[jax.Array]:
            return [x.reshape(-1, *shape)[place] for x, shape in zip(arrays, shapes, strict=True)]

        self._replicate_one = jax.jit(pick, static_argnums=2, out_shardings=self._replicated)

    def __len__(self) -> int:
        return len(self.devices)

    def steps_per_dispatch(self) -> int:
        """Returns the default number of steps in one program: 1 on CPUs, where convolutions are slow in a loop."""
        return 1 if self.devices[0].platform == "cpu" else 32

    def describe(self) -> str:
        """Returns the number and kind of the devices, for result.json."""
        return f"{len(self)} x {self.devices[0].device_kind} ({self.devices[0].platform})"

    def replicate(self, tree: Any) -> Any:
        """Copies arrays to every device. The copies share no memory with the source, so either may be donated."""

        def copy(x: Any) -> jax.Array:
            source = np.array(x)
            return jax.make_array_from_callback(source.shape, self._replicated, lambda index: source[index])

        return jax.tree.map(copy, tree)

    def share(self, x: np.ndarray) -> jax.Array:
        """Puts an array on every device. CPUs make no copy, so it must not be modified or donated afterwards."""
        return jax.make_array_from_callback(x.shape, self._replicated, lambda index: x[index])

    def replicate_one(self, trees: Any, place: int, like: Any) -> Any:
        """Copies one of several trees (s, ...), replicated or as `divide_states` makes them, to every device.

        The copies, of the shapes `like` has, share no memory with their source.
        """
        shapes = tuple(x.shape for x in jax.tree.leaves(like))
        leaves, structure = jax.tree.flatten(trees)
        return jax.tree.unflatten(structure, self._replicate_one(leaves, place, shapes))

    def divide_states(self, states: Any) -> Any:
        """Divides states (s, ...) in order among the devices of this process.

        The layout is that of the states that a step with divide_state returns, so the step is compiled once.
        """
        sharding = NamedSharding(Mesh(self._mesh.devices, (STATES,)), PartitionSpec(STATES))

        def divide(x: np.ndarray) -> jax.Array:
            source = x.reshape(len(self), -1, *x.shape[1:]) if self.strategy == "pmap" else x
            return jax.make_array_from_callback(source.shape, sharding, source.__getitem__)

        return jax.tree.map(divide, states)

    def shard(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Divides a global batch (b, ...) in order among the devices. Each process takes its own part."""
        if self.strategy == "pmap":
            processes, process = jax.process_count(), jax.process_index()
            local = len(self) // processes
            parts = {name: x.reshape(processes, local, -1, *x.shape[1:]) for name, x in batch.items()}
            return {name: x[process] for name, x in parts.items()}
        sharding = NamedSharding(self._mesh, PartitionSpec(AXIS))
        return {name: jax.make_array_from_callback(x.shape, sharding, x.__getitem__) for name, x in batch.items()}

    def shard_ahead(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Divides a batch as `shard` does and transfers the arrays to their devices."""
        shares = self.shard(batch)
        if self.strategy == "pmap":
            shares = jax.device_put(shares, NamedSharding(self._mesh, PartitionSpec(AXIS)))
        return shares

    def check_room(self, size: int, what: str, remedy: str) -> None:
        """Raises ConfigError if bytes do not fit on each device of this process and the platform reports its memory.

        The message begins with `what`, the field that puts them there, and ends with the field to set.
        """
        for device in self._mesh.local_devices:
            stats = device.memory_stats() or {}
            free = stats.get("bytes_limit", float("inf")) - stats.get("bytes_in_use", 0)
            if size > free:
                raise ConfigError(
                    f"{what}, {size / 1e9:.2f} GB, on every device, and {device} has {free / 1e9:.2f} GB left; "
                    f"set {remedy}"
                )

    def map_step(
        self,
        step: Callable[..., Any],
        *,
        donate_state: bool,
        divide_state: bool = False,
        divide_signals: Any = False,
        takes_hyperparameters: bool = False,
        **static: Any,
    ) -> Callable[..., Any]:
        """Compiles step(state, signals, batch, **static, axis_name, dtype) for these devices.

        Args:
          step: such as `train_steps` or `evaluation_step`.
          donate_state: whether the state that is passed in is donated.
          divide_state: whether each device has states of its own, and the step itself maps over axis_name.
          divide_signals: whether the signals are divided as the batch is; a pytree prefix of them.
          takes_hyperparameters: whether a fourth argument follows the batch, laid out as the state is.
          **static: the step's keyword arguments.

        Returns:
          A function of (state, signals, batch) and optionally the hyperparameters. All but the batch are replicated;
          batch and divided signals are as `shard` makes them. The returned values are replicated and have no device
          axis. With divide_state, state, hyperparameters and returned values are as `divide_states` makes them.
        """

        def mapped(*arguments: Any) -> Any:
            with jax.default_matmul_precision(self._products):
                return step(*arguments, axis_name=AXIS, dtype=self._dtype, **static)

        donated = (0,) if donate_state else ()
        axis = STATES if divide_state else AXIS
        if self.strategy == "pmap":
            place = 0 if divide_state else None
            shares = jax.tree.map(lambda divide: 0 if divide else None, divide_signals)
            return jax.pmap(
                mapped,
                axis_name=axis,
                in_axes=(place, shares, 0) + (place,) * takes_hyperparameters,
                out_axes=place,
                devices=self.devices,
                donate_argnums=donated,
            )
        whole, divided = PartitionSpec(), PartitionSpec(axis)
        states = divided if divide_state else whole
        given = jax.tree.map(lambda divide: divided if divide else whole, divide_signals)
        mesh = Mesh(self._mesh.devices, (axis,))
        # The steps average over the devices themselves; with check_vma=True JAX would sum the gradients again.
        specs = (states, given, divided) + (states,) * takes_hyperparameters
        sharded = jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=states, check_vma=False)
        return jax.jit(sharded, donate_argnums=donated)
