"""Scope `classification`: M * grad(L_cls) + grad(lambda L_aux) in one backward pass, against two separate ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax import losses
from dcdp_jax.models.multipath import BranchSpec, MultiPath

M = {"res": 0.3, "dense": 0.8}
MODEL = MultiPath(
    (BranchSpec("res", "resnet", (0, 1, 2)), BranchSpec("dense", "densenet", (3, 4))),
    classes=4,
    width=8,
    resnet_blocks=(1, 1),
    densenet_blocks=(1, 1),
    embedding=16,
    projection_hidden=16,
    projection=8,
    fusion_hidden=16,
)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.float64, 1e-12)])
def test_equals_two_backward_passes(dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.normal(size=(12, 16, 5)), dtype)
        labels = jnp.asarray(rng.integers(0, 4, 12), jnp.int32)
        keys = jax.random.split(jax.random.key(1), 12)
        variables = jax.tree.map(lambda v: v.astype(dtype), jax.jit(MODEL.init)(jax.random.key(0), x))
        coefficients = {name: jnp.asarray(m, dtype) for name, m in M.items()}

        def outputs_of(params, modulation=None):
            return MODEL.apply(
                {**variables, "params": params},
                x,
                train=True,
                keys=keys,
                modulation=modulation,
                mutable=["batch_stats"],
            )[0]

        def total(params):
            outputs = outputs_of(params, lambda logits: coefficients)
            return losses.total_loss(*outputs, labels, align_weight=0.7, temperature=0.5)[0]

        def classification(params):
            outputs = outputs_of(params)
            return sum(losses.cross_entropy(z, labels).mean() for z in (outputs.fusion, *outputs.branches.values()))

        def auxiliary(params):
            outputs = outputs_of(params)
            contrast = losses.multi_stage_contrastive_loss(outputs.stages, 0.5)
            return 0.7 * (contrast + losses.mean_alignment_loss(outputs.embeddings))

        found, of_classification, of_auxiliary = jax.jit(
            lambda p: (jax.grad(total)(p), jax.grad(classification)(p), jax.grad(auxiliary)(p))
        )(variables["params"])
        for name in found:
            factor = coefficients.get(name, jnp.ones((), dtype))
            wanted = jax.tree.map(lambda a, b, f=factor: f * a + b, of_classification[name], of_auxiliary[name])
            scale = max(float(jnp.abs(w).max()) for w in jax.tree.leaves(wanted))
            jax.tree.map(
                lambda f, w, s=scale: np.testing.assert_allclose(f, w, rtol=tolerance * 10, atol=tolerance * s),
                found[name],
                wanted,
            )
