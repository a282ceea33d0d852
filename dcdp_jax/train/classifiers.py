"""Trains the classifiers of a finished network on a few labelled windows of one person, without the backbones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcdp_jax.data.normalize import Normalizer, normalize
from dcdp_jax.models.fusion import FusionHead
from dcdp_jax.models.multipath import MultiPath

STEPS = 200
LEARNING_RATE = 1e-3
PULL = 0.1  # weight of the squared distance from the old parameters
BATCH = 64


def classify(network: MultiPath, params: Any, embeddings: dict[str, jax.Array]) -> list[jax.Array]:
    """Computes the logits (n, k) of the fusion and of each branch's classifier from embeddings {branch: (n, d)}."""
    # JAX sorts the keys of dictionaries that it returns, but the fusion reads the branches in the model's order.
    ordered = {branch.name: embeddings[branch.name] for branch in network.branches}
    classifiers = {name: params[name]["classifier"] for name in ordered}
    logits = {name: h @ classifiers[name]["kernel"] + classifiers[name]["bias"] for name, h in ordered.items()}
    head = FusionHead(network.classes, network.fusion_hidden, 0.0, network.fusion, network.modality_dropout)
    return [head.apply({"params": params["fusion"]}, ordered, logits, None), *logits.values()]


def train_classifiers(
    network: MultiPath, variables: Any, normalizer: Normalizer, windows: np.ndarray, labels: np.ndarray
) -> Any:
    """Trains the fusion and the branches' classifiers on all windows at once, and returns the network's parameters.

    Nothing else changes. The loss is the sum of the cross-entropies, each a mean over the classes that occur, plus
    `PULL` times the squared distance from the old parameters, so that classes without a window are not forgotten. Adam
    takes `STEPS` steps. The windows (n, t, c) are in the units of the recordings.
    """
    embed = jax.jit(lambda x: network.apply(variables, normalize(x, *normalizer)).embeddings)
    padded = np.pad(windows, ((0, -len(windows) % BATCH), (0, 0), (0, 0)))
    parts = [embed(padded[i : i + BATCH]) for i in range(0, len(padded), BATCH)]
    embeddings = jax.tree.map(lambda *values: jnp.concatenate(values)[: len(windows)], *parts)
    counts = np.bincount(labels)
    weights = 1 / (np.count_nonzero(counts) * counts[labels])
    params = dict(variables["params"])
    before = {name: {"classifier": params[name]["classifier"]} for name in (branch.name for branch in network.branches)}
    before["fusion"] = params.get("fusion", {})  # the sum of the branches' logits has no parameters
    optimizer = optax.adam(LEARNING_RATE)

    def loss_of(trained: Any) -> jax.Array:
        logits = classify(network, trained, embeddings)
        entropy = sum(jnp.sum(weights * optax.softmax_cross_entropy_with_integer_labels(z, labels)) for z in logits)
        return entropy + PULL * optax.tree.norm(jax.tree.map(jnp.subtract, trained, before), squared=True)

    @jax.jit
    def train(trained: Any) -> Any:
        def step(_: int, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            trained, state = carry
            updates, state = optimizer.update(jax.grad(loss_of)(trained), state)
            return optax.apply_updates(trained, updates), state

        return jax.lax.fori_loop(0, STEPS, step, (trained, optimizer.init(trained)))[0]

    trained = jax.device_get(train(before))
    return params | {name: {**params[name], **part} for name, part in trained.items() if name in params}
