"""Every loss against NumPy in float64, on random inputs. Tolerance: 1e-5 relative in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax import losses

pytestmark = pytest.mark.usefixtures("strict_types")
RTOL = 1e-5


def normalized(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def contrast(z_a, z_b, temperature):
    """Section 3.2, written as the paper does: explicit sums over i and j."""
    S = normalized(z_a) @ normalized(z_b).T
    n = len(S)
    total = 0.0
    for i in range(n):
        total += np.log(np.exp(S[i, i] / temperature) / sum(np.exp(S[i, j] / temperature) for j in range(n)))
        total += np.log(np.exp(S[i, i] / temperature) / sum(np.exp(S[j, i] / temperature) for j in range(n)))
    return -total / (2 * n)


def cross_entropy(logits, labels, smoothing=0.0):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    k = logits.shape[1]
    target = (1 - smoothing) * np.eye(k)[labels] + smoothing / k
    return -(target * np.log(p)).sum(axis=1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def both(rng, *shape):
    x = rng.normal(size=shape)
    return x, jnp.asarray(x, jnp.float32)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 8), (7, 3), (32, 128)])
def test_contrastive_loss(rng, shape, temperature):
    (a, a32), (b, b32) = both(rng, *shape), both(rng, *shape)
    np.testing.assert_allclose(
        losses.contrastive_loss(a32, b32, temperature), contrast(a, b, temperature), rtol=RTOL, atol=1e-6
    )


def test_contrastive_loss_is_symmetric_and_ignores_length(rng):
    (_, a), (_, b) = both(rng, 9, 5), both(rng, 9, 5)
    expected = losses.contrastive_loss(a, b, 0.5)
    np.testing.assert_allclose(losses.contrastive_loss(b, a, 0.5), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.contrastive_loss(a * 3, b * 0.2, 0.5), expected, rtol=1e-6)


def test_contrastive_gradient(rng):
    (a, a32), (b, b32) = both(rng, 6, 4), both(rng, 6, 4)
    gradient = jax.grad(losses.contrastive_loss)(a32, b32, 0.5)
    step = 1e-6
    for index in np.ndindex(a.shape):
        up, down = a.copy(), a.copy()
        up[index] += step
        down[index] -= step
        numeric = (contrast(up, b, 0.5) - contrast(down, b, 0.5)) / (2 * step)
        np.testing.assert_allclose(gradient[index], numeric, rtol=1e-4, atol=1e-6)


def test_zero_rows_give_finite_losses_and_gradients():
    z, h = jnp.zeros((3, 4)), jnp.ones((3, 4))
    for loss in (lambda x: losses.contrastive_loss(x, h, 0.5), lambda x: losses.alignment_loss(x, h)):
        value, gradient = jax.value_and_grad(loss)(z)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_multi_stage_is_the_mean_over_stages_and_pairs(rng):
    stages = [{name: rng.normal(size=(6, width)) for name in ("res", "dense", "third")} for width in (5, 5, 3, 8)]
    pairs = [("dense", "res"), ("dense", "third"), ("res", "third")]
    expected = np.mean([contrast(stage[a], stage[b], 0.3) for stage in stages for a, b in pairs])
    stages32 = jax.tree.map(lambda z: jnp.asarray(z, jnp.float32), stages)
    np.testing.assert_allclose(losses.multi_stage_contrastive_loss(stages32, 0.3), expected, rtol=RTOL)


def test_alignment_loss(rng):
    (a, a32), (b, b32) = both(rng, 11, 16), both(rng, 11, 16)
    expected = np.mean((normalized(a) - normalized(b)) ** 2)
    np.testing.assert_allclose(losses.alignment_loss(a32, b32), expected, rtol=RTOL)
    np.testing.assert_allclose(losses.mean_alignment_loss({"a": a32, "b": b32}), expected, rtol=RTOL)


def test_alignment_loss_summed_over_the_features(rng):
    (a, a32), (b, b32) = both(rng, 11, 16), both(rng, 11, 16)
    expected = np.mean(np.sum((normalized(a) - normalized(b)) ** 2, axis=1))
    np.testing.assert_allclose(losses.alignment_loss(a32, b32, "sum"), expected, rtol=RTOL)
    np.testing.assert_allclose(losses.mean_alignment_loss({"a": a32, "b": b32}, "sum"), expected, rtol=RTOL)
    with pytest.raises(ValueError, match="'median' is not one of mean, sum"):
        losses.alignment_loss(a32, b32, "median")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1, 30])
def test_cross_entropy(rng, smoothing, scale):
    """Relative to 1e-5 also where the classifier is certain and the loss is next to nothing."""
    logits, labels = scale * rng.normal(size=(50, 6)), rng.integers(0, 6, 50)
    labels[:25] = logits[:25].argmax(axis=1)
    found = losses.cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.int32), smoothing)
    expected = cross_entropy(np.asarray(logits, np.float32).astype(float), labels, smoothing)
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("names", [("res",), ("res", "dense"), ("res", "dense", "third")])
@pytest.mark.parametrize("class_weights", [None, (0.25, 1.0, 3.0, 0.5, 2.0, 7.0)])
def test_total_loss(rng, class_weights, names, smoothing, reduction):
    b, k = 10, 6
    labels = rng.integers(0, k, b)
    fusion = rng.normal(size=(b, k))
    branches = {name: rng.normal(size=(b, k)) for name in names}
    embeddings = {name: rng.normal(size=(b, 8)) for name in names}
    stages = [{name: rng.normal(size=(b, 5)) for name in names} for _ in range(4)] if len(names) > 1 else []
    weights = np.ones(b) if class_weights is None else np.array(class_weights)[labels]
    expected = sum((weights * cross_entropy(z, labels, smoothing)).sum() / b for z in (fusion, *branches.values()))
    if len(names) > 1:
        pairs = [(x, y) for i, x in enumerate(names) for y in names[i + 1 :]]
        contrasts = np.mean([contrast(s[x], s[y], 0.5) for s in stages for x, y in pairs])
        reduce = {"mean": np.mean, "sum": lambda squares: squares.sum(axis=1).mean()}[reduction]
        aligns = np.mean([reduce((normalized(embeddings[x]) - normalized(embeddings[y])) ** 2) for x, y in pairs])
        expected += 0.7 * (contrasts + aligns)
    arrays = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (fusion, branches, embeddings, stages))
    total, terms = losses.total_loss(
        *arrays,
        jnp.asarray(labels, jnp.int32),
        align_weight=0.7,
        temperature=0.5,
        label_smoothing=smoothing,
        align_reduction=reduction,
        class_weights=class_weights if class_weights is None else jnp.asarray(class_weights, jnp.float32),
    )
    np.testing.assert_allclose(total, expected, rtol=RTOL)
    multimodal, unimodal = losses.split_total(terms, names, 0.7)
    own = sum((weights * cross_entropy(branches[name], labels, smoothing)).mean() for name in names)
    np.testing.assert_allclose([multimodal, unimodal], [expected - own, own], rtol=RTOL)
    weighted = {name: float(term) * (0.7 if name in ("contrast", "align") else 1) for name, term in terms.items()}
    assert sum(weighted.values()) == pytest.approx(expected, rel=RTOL)
    assert set(terms) == {*names, "fusion"} | ({"contrast", "align"} if len(names) > 1 else set())


@pytest.mark.parametrize("stages", [[], [{"res": jnp.ones((2, 3))}]])
def test_contrast_needs_two_branches(stages):
    with pytest.raises(ValueError, match="two or more branches"):
        losses.multi_stage_contrastive_loss(stages, 0.5)


@pytest.mark.parametrize("devices", [2, 7, 8])
def test_negatives_are_gathered_over_devices(rng, devices):
    """The mean over devices is the loss of the whole batch; so are the gradients."""
    (_, a), (_, b) = both(rng, 56, 8), both(rng, 56, 8)

    def local(a, b):
        loss, gradient = jax.value_and_grad(losses.contrastive_loss)(a, b, 0.5, axis_name="data")
        return jax.lax.pmean(loss, "data"), gradient / devices

    split = [x[: 56 // devices * devices].reshape(devices, -1, 8) for x in (a, b)]
    loss, gradient = jax.pmap(local, axis_name="data", devices=jax.devices()[:devices])(*split)
    whole = [x.reshape(-1, 8) for x in split]
    expected, expected_gradient = jax.value_and_grad(losses.contrastive_loss)(*whole, 0.5)
    np.testing.assert_allclose(loss[0], expected, rtol=1e-6)
    np.testing.assert_allclose(gradient.reshape(-1, 8), expected_gradient, rtol=1e-4, atol=1e-8)
