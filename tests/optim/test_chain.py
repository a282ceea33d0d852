"""The chain's first ten updates against NumPy in float64. Tolerance: 1e-5 relative."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dcdp_jax.optim import METHODS, build_optimizer, coefficients_of, learning_rate_schedule

SHAPES = {"res": (3, 4), "dense": (4,), "fusion": (2, 2)}
LABELS = {"res": "res", "dense": "dense", "fusion": None}
B1, B2, EPS, DECAY, RATE, ALPHA = 0.9, 0.999, 1e-8, 0.01, 0.05, 0.9


def modulation(S):
    M = {}
    for name, other in (("res", "dense"), ("dense", "res")):
        R = S[name] / (S[other] + 1e-8)
        M[name] = 1 - np.tanh(ALPHA * max(R - 1, 0))
    return {**M, "fusion": 1.0}


def reference(name, params, gradients, confidences):
    """Section 3.3's momentum rule for sgd; Kingma and Ba, and Loshchilov and Hutter, for adam and adamw."""
    m = {key: np.zeros(shape) for key, shape in SHAPES.items()}
    v = {key: np.zeros(shape) for key, shape in SHAPES.items()}
    history = []
    for t, (g, S) in enumerate(zip(gradients, confidences, strict=True), 1):
        M = modulation(S)
        for key in params:
            modulated = M[key] * g[key]
            m[key] = B1 * m[key] + (1 - B1) * modulated
            v[key] = B2 * v[key] + (1 - B2) * modulated**2
            adam = (m[key] / (1 - B1**t)) / (np.sqrt(v[key] / (1 - B2**t)) + EPS)
            step = m[key] if name == "sgd" else adam
            if name == "adamw" and params[key].ndim > 1:
                step = step + DECAY * params[key]
            params[key] = params[key] - RATE * step
        history.append({key: p.copy() for key, p in params.items()})
    return history


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_first_ten_updates(name):
    rng = np.random.default_rng(0)
    params = {key: rng.normal(size=shape) for key, shape in SHAPES.items()}
    gradients = [{key: rng.normal(size=shape) for key, shape in SHAPES.items()} for _ in range(10)]
    confidences = [{"res": rng.uniform(10, 60), "dense": rng.uniform(10, 60)} for _ in range(10)]
    tx = build_optimizer(
        name,
        lambda step: RATE,
        b1=B1,
        b2=B2,
        eps=EPS,
        weight_decay=DECAY,
        clip_norm=0.0,
        labels=LABELS,
        arguments={"alpha": ALPHA},
    )
    current = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    state = tx.init(current)
    update = jax.jit(tx.update)
    for g, S, expected in zip(
        gradients, confidences, reference(name, dict(params), gradients, confidences), strict=True
    ):
        updates, state = update(
            jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), g),
            state,
            current,
            confidence={key: jnp.float32(s) for key, s in S.items()},
        )
        current = jax.tree.map(lambda p, u: p + u, current, updates)
        for key in params:
            np.testing.assert_allclose(current[key], expected[key], rtol=1e-5, atol=1e-6)


def test_clip_comes_before_cgm():
    """The bound holds for the unmodulated gradient; M then scales what is left."""
    params = {"res": jnp.ones((2, 2)), "dense": jnp.ones((2, 2)), "fusion": jnp.zeros((2, 2))}
    settings = {"b1": 0.0, "b2": B2, "eps": EPS, "weight_decay": 0.0, "labels": LABELS}
    tx = build_optimizer("sgd", lambda step: 1.0, clip_norm=1.0, **settings)
    S = {"res": jnp.float32(60), "dense": jnp.float32(40)}
    updates, _ = tx.update(params, tx.init(params), params, confidence=S)
    np.testing.assert_allclose(-updates["dense"], 1 / np.sqrt(8), rtol=1e-6)
    np.testing.assert_allclose(-updates["res"], (1 - np.tanh(0.45)) / np.sqrt(8), rtol=1e-5)


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_schedule(warmup):
    total, peak = 50, 0.2
    cosine = learning_rate_schedule("cosine", peak, total, warmup)
    constant = learning_rate_schedule("constant", peak, total, warmup)
    for step in range(total):
        if step < warmup:
            assert float(cosine(step)) == pytest.approx(peak * (step + 1) / warmup)
            assert float(constant(step)) == pytest.approx(peak * (step + 1) / warmup)
        else:
            share = (step - warmup) / (total - warmup)
            assert float(cosine(step)) == pytest.approx(peak * (1 + np.cos(np.pi * share)) / 2, abs=1e-7)
            assert float(constant(step)) == pytest.approx(peak)


SETTINGS = {"b1": 0.0, "b2": B2, "eps": EPS, "weight_decay": 0.0, "labels": LABELS}
KEYWORDS = {
    "confidence": {"res": 60.0, "dense": 40.0},
    "accuracy": {"res": 0.6, "dense": 0.4},
    "entropy": {"res": 0.6, "dense": 1.4},
    "magnitude": {"res": 3.0, "dense": 1.0},
    "unimodal": {"res": -jnp.ones((2, 2)), "dense": jnp.ones((2, 2)), "fusion": jnp.zeros((2, 2))},
}
ARGUMENTS = {"inforeg": {"epoch": 1}}


@pytest.mark.parametrize(
    ("method", "placement"), [(m, p) for m, method in METHODS.items() for p in method.placements if p != "decoupled"]
)
def test_every_method_by_name_is_its_transformation(method, placement):
    """With SGD, no momentum and rate 1 the update is the transformed gradient, at either placement."""
    params = {"res": jnp.ones((2, 2)), "dense": jnp.eye(2), "fusion": jnp.ones((2, 2))}
    arguments = ARGUMENTS.get(method, {})
    tx = build_optimizer(
        "sgd", lambda step: 1.0, clip_norm=0.0, **SETTINGS, method=method, arguments=arguments, placement=placement
    )
    alone = METHODS[method].make(LABELS, **arguments)
    given = {keyword: KEYWORDS[keyword] for keyword in METHODS[method].keywords}
    updates, _ = tx.update(params, tx.init(params), params, **KEYWORDS)
    expected, _ = alone.update(params, alone.init(params), params, **given)
    for name in params:
        np.testing.assert_allclose(-updates[name], expected[name], rtol=1e-6)
    with pytest.raises(ValueError, match=METHODS[method].keywords[0]):
        tx.update(params, tx.init(params), params)


def test_placements_and_windows_that_a_method_does_not_have():
    for method, options, message in [
        ("inforeg", {"placement": "after"}, "inforeg"),
        ("rank", {"placement": "decoupled"}, "rank"),
        ("mmpareto", {"acts": lambda step: step > 3}, "cannot be left out"),
        ("cgm", {"placement": "decoupled", "acts": lambda step: step > 3}, "cannot be left out"),
        ("balance", {}, "not one of"),
    ]:
        arguments = ARGUMENTS.get(method, {})
        with pytest.raises(ValueError, match=message):
            build_optimizer(
                "adamw", lambda s: 1.0, clip_norm=0.0, **SETTINGS, method=method, arguments=arguments, **options
            )


def test_a_method_acts_within_its_window():
    params = {"res": jnp.ones((2, 2)), "dense": jnp.ones((2, 2)), "fusion": jnp.ones((2, 2))}
    tx = build_optimizer(
        "sgd", lambda s: 1.0, clip_norm=0.0, **SETTINGS, method="rank", acts=lambda step: (step >= 1) & (step < 3)
    )
    state, seen, said = tx.init(params), [], []
    for _ in range(4):
        updates, state = jax.jit(tx.update)(params, state, params, confidence=KEYWORDS["confidence"])
        seen.append(float(-updates["res"][0, 0]))
        said.append(float(coefficients_of(state)["res"]))
    assert seen == said == [1, 0.5, 0.5, 1]


def test_a_pull_that_has_ended_is_said_to_be_none():
    """InfoReg's coefficient is 0 where it does nothing; its trace and its reference stay for when it acts again."""
    params = {"res": jnp.ones((2, 2)), "dense": jnp.ones((2, 2)), "fusion": jnp.ones((2, 2))}
    tx = build_optimizer(
        *("sgd", lambda s: 1.0),
        **SETTINGS,
        **{"clip_norm": 0.0, "method": "inforeg", "arguments": {"epoch": 5}, "acts": lambda step: step < 1},
    )
    state, said, traces = tx.init(params), [], []
    for _ in range(2):
        _, state = jax.jit(tx.update)(params, state, params, confidence=KEYWORDS["confidence"])
        said.append(float(coefficients_of(state)["res"]))
        traces.append(float(optax.tree.get(state, "trace")["res"]))
    assert said[0] > 1
    assert said[1] == 0
    assert traces[0] == traces[1] > 0


def test_mmpareto_is_clipped_after_the_combination():
    """What is bounded is the gradient of all losses: the norm of the combination, not that of the multimodal part."""
    params = {name: jnp.ones((2, 2)) for name in LABELS}
    tx = build_optimizer("sgd", lambda step: 1.0, clip_norm=1.0, **SETTINGS, method="mmpareto")
    updates, _ = tx.update(params, tx.init(params), params, unimodal=params)
    assert float(optax.tree.norm(updates)) == pytest.approx(1, rel=1e-5)


def test_unknown_names():
    with pytest.raises(ValueError, match="adamw"):
        build_optimizer("rmsprop", lambda s: 1.0, b1=0.9, b2=0.9, eps=1e-8, weight_decay=0.0, clip_norm=0.0)
    with pytest.raises(ValueError, match="cosine"):
        learning_rate_schedule("step", 1.0, 10, 0)
