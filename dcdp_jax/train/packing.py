"""Parameters with all vectors of a top-level entry as one array, which a GPU updates with one kernel."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct


class Packed(struct.PyTreeNode):
    """An entry of the parameters, or of the moments, whose vectors are one array."""

    vector: jax.Array  # (n,) all arrays of one dimension, end to end
    others: list[jax.Array]  # all other arrays
    # (place among the leaves of the entry, length) of each vector
    lengths: tuple[tuple[int, int], ...] = struct.field(pytree_node=False)
    structure: Any = struct.field(pytree_node=False)  # of the entry

    def unpack(self) -> Any:
        """Returns the entry."""
        places, lengths = zip(*self.lengths, strict=True)
        vectors = dict(zip(places, jnp.split(self.vector, np.cumsum(lengths)[:-1]), strict=True))
        others = iter(self.others)
        leaves = [vectors[i] if i in vectors else next(others) for i in range(self.structure.num_leaves)]
        return jax.tree.unflatten(self.structure, leaves)


def pack_entry(entry: Any) -> Any:
    """Returns a pytree of arrays with its vectors as one array, or unchanged if it has fewer than two."""
    leaves, structure = jax.tree.flatten(entry)
    lengths = tuple((i, x.size) for i, x in enumerate(leaves) if x.ndim == 1)
    if len(lengths) < 2:
        return entry
    vector = jnp.concatenate([leaves[i] for i, _ in lengths])
    return Packed(vector, [x for x in leaves if x.ndim != 1], lengths, structure)


def pack(tree: Any, params: Any) -> Any:
    """Packs the entries of every part of a pytree that has the structure of the parameters, such as Adam's moments.

    A chain of optax transformations that treat all numbers of an entry alike makes the same updates of both forms. The
    vectors of one entry must be of one type.
    """
    structure: Any = jax.tree.structure(params)

    def is_like_params(part: Any) -> bool:
        return bool(structure == jax.tree.structure(part))

    def packed(part: Any) -> Any:
        return {name: pack_entry(entry) for name, entry in part.items()} if is_like_params(part) else part

    return jax.tree.map(packed, tree, is_leaf=is_like_params)


def unpack(tree: Any) -> Any:
    """Inverts `pack`, and returns a pytree that is not packed unchanged."""

    def is_packed(part: Any) -> bool:
        return isinstance(part, Packed)

    return jax.tree.map(lambda part: part.unpack() if is_packed(part) else part, tree, is_leaf=is_packed)
