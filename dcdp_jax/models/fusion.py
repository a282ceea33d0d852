"""Fusion of the branches into the model's prediction."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcdp_jax.models.dropout import dropout, keys_of_layer
from dcdp_jax.models.kernels import Dense
from dcdp_jax.optim.branches import is_zero

FUSIONS = ("concat", "gated", "sum")
REPLACEMENT_LAYER = 1  # layer of modality dropout in `keys_of_layer`; dropout uses the keys themselves


class FusionHead(nn.Module):
    """Fusion of the branches.

    `concat`: Dense, ReLU, dropout and a linear layer on the concatenated embeddings. `gated`: the same layers on
    sum_m g_m * tanh(W_m h_m), where the gates g (b, branches, d) are the softmax over the branches of a linear layer on
    the concatenated embeddings, as in the gated multimodal unit (Arevalo et al. 2017,
    https://arxiv.org/abs/1702.01992). `sum`: the sum of the logits of the branches' own classifiers.
    """

    classes: int  # k
    hidden: int = 256  # width of the hidden layer
    dropout: float | jax.Array = 0.5  # rate on the hidden layer
    kind: str = "concat"  # one of `FUSIONS`
    # share of the training windows in which one branch, each with the same probability, is replaced by a learnt
    # vector
    modality_dropout: float | jax.Array = 0.0

    @nn.compact
    def __call__(
        self, embeddings: dict[str, jax.Array], logits: dict[str, jax.Array], keys: jax.Array | None
    ) -> jax.Array:
        """Returns logits (b, k) from embeddings {branch: (b, d)} and the branches' own logits {branch: (b, k)}.

        Keys are (b,) as for `dropout`, or None for no dropout and no replacement.
        """
        names = list(embeddings)
        read = logits if self.kind == "sum" else embeddings
        if not is_zero(self.modality_dropout):
            vectors = [
                self.param(f"{name}_replacement", nn.initializers.zeros_init(), read[name].shape[-1:]) for name in names
            ]
            replaced = replaced_branch(keys_of_layer(keys, REPLACEMENT_LAYER), len(names), self.modality_dropout)
            if replaced is not None:
                read = {
                    name: jnp.where((replaced == i)[:, None], vectors[i], read[name]) for i, name in enumerate(names)
                }
        if self.kind == "sum":
            return sum(read[name] for name in names[1:]) + read[names[0]]
        h = jnp.concatenate([read[name] for name in names], axis=-1)
        if self.kind == "gated":
            d = read[names[0]].shape[-1]
            gates = jax.nn.softmax(Dense(len(names) * d, name="gate")(h).reshape(-1, len(names), d), axis=1)
            values = [jnp.tanh(Dense(d, name=f"{name}_value")(read[name])) for name in names]
            h = jnp.sum(gates * jnp.stack(values, axis=1), axis=1)
        h = nn.relu(Dense(self.hidden)(h))
        return Dense(self.classes)(dropout(h, keys, self.dropout))


def replaced_branch(keys: jax.Array | None, branches: int, rate: float | jax.Array) -> jax.Array | None:
    """Draws which branch of each window is replaced, in a share `rate` of the windows, from (b,) random keys.

    Returns:
      (b,) index of the branch, -1 for none; None without keys.
    """
    if keys is None:
        return None

    def draw(key: jax.Array) -> jax.Array:
        for_window, for_branch = jax.random.split(key)
        return jnp.where(jax.random.bernoulli(for_window, rate), jax.random.randint(for_branch, (), 0, branches), -1)

    return jax.vmap(draw)(keys)
