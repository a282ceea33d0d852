"""The only place that knows devices: how a step is mapped, and how its arrays are laid out."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dcdp_jax.errors import ConfigError

AXIS = "data"
STRATEGIES = ("pmap",)


def keep_compiled_programs(cache: Path) -> None:
    """Lets XLA keep compiled programs for the next start, in `cache/compiled` unless JAX_COMPILATION_CACHE_DIR is set.

    Args:
      cache: the user's cache folder.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


class Devices:
    """A row of devices over which a batch is split.

    Attributes:
      devices: the local devices used, in order.
    """

    def __init__(self, count: int) -> None:
        """Takes the first devices of this process.

        Args:
          count: how many; 0 for all.

        Raises:
          ConfigError: there are fewer.
        """
        available = jax.local_devices()
        if not 0 <= count <= len(available):
            raise ConfigError(f"parallel.devices={count}, but there are {len(available)} ({available[0].platform})")
        self.devices = available[: count or None]
        self._replicated = NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec())

    def __len__(self) -> int:
        return len(self.devices)

    def describe(self) -> str:
        """For the result: how many of which kind."""
        return f"{len(self)} x {self.devices[0].device_kind} ({self.devices[0].platform})"

    def replicate(self, tree: Any) -> Any:
        """Copies arrays to every device. The copy shares no memory with its source, so either may be donated."""
        return jax.tree.map(lambda x: jax.device_put(np.array(x), self._replicated), tree)

    def shard(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """(b, ...) -> (devices, b / devices, ...)."""
        return {name: x.reshape(len(self), -1, *x.shape[1:]) for name, x in batch.items()}

    def map_step(self, step: Callable[..., Any], *, donate_state: bool, **static: Any) -> Callable[..., Any]:
        """Compiles step(state, signals, batch, **static, axis_name) for these devices.

        Args:
          step: `train_step` or `evaluation_step`.
          donate_state: whether the state passed in is used up.
          **static: the step's keyword arguments.

        Returns:
          A function of (state, signals, batch): state and signals replicated, batch as `shard` makes it; what it
          returns is replicated and has no device axis.
        """
        return jax.pmap(
            functools.partial(step, axis_name=AXIS, **static),
            axis_name=AXIS,
            in_axes=(None, None, 0),
            out_axes=None,
            devices=self.devices,
            donate_argnums=(0,) if donate_state else (),
        )
