"""What optax asks of its own transformations (contrib/_common_test.py), asked of every one of ours and every placement.

The cases are shared by all tests: a transformation that is not listed is one that `test_every_transformation_is_here`
finds missing.
"""

import functools
import importlib.metadata
import inspect
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import NamedSharding

import dcdp_jax.optim
from dcdp_jax.optim import (
    average_statistics,
    coefficients_of,
    combine_by_mmpareto,
    scale_by_adam_with_decoupled_cgm,
    scale_by_arl,
    scale_by_cggm,
    scale_by_cgm,
    scale_by_inforeg,
    scale_by_ogm,
    scale_by_rank,
    scale_by_shuffled_cgm,
)
from tests.optim.chains import make_chain

LABELS = {"res": "res", "dense": "dense", "fusion": None}
SHAPES = {"res": {"w": (8, 3), "b": (8,)}, "dense": {"w": (8, 2)}, "fusion": {"w": (8, 2)}}
DEVICES = 8


def chain(labels, strength, *, name, placement):
    """The training chain, but for what `test_chain` and `test_placement` check."""
    modulation = {"labels": labels, "arguments": {"alpha": strength}, "placement": placement}
    return make_chain(name, 0.1, weight_decay=0.01, clip_norm=5.0, **modulation)


def decoupled(labels, strength):
    return scale_by_adam_with_decoupled_cgm(labels, alpha=strength)


def ogm_ge(labels, strength):
    return scale_by_ogm(labels, strength, generalization_enhancement=True)


def inforeg(labels, strength):
    """With epochs of four updates."""
    return scale_by_inforeg(labels, 4, strength)


def averaged(labels, strength):
    return average_statistics(scale_by_cgm(labels, strength), labels, decay=0.5)


def shuffled(labels, strength):
    """The M of this update, dealt to the branches by a key that leaves `res` its own in the tests' fourth update."""
    return scale_by_shuffled_cgm(labels, strength, memory=1, key=1)


def shuffled_mean_one(labels, strength):
    """The same, divided by their mean."""
    return scale_by_shuffled_cgm(labels, strength, memory=1, key=1, mean_one=True)


class Case(NamedTuple):
    """A transformation from (labels, strength), a strength, and the first keyword that its update requires."""

    make: Callable
    strength: float
    keyword: str

    def __call__(self, labels=LABELS):
        return self.make(labels, self.strength)


chains = {
    functools.partial(chain, name=name, placement=placement): f"{name}-{placement}"
    for name, placement in itertools.product(["adamw", "sgd"], ["before", "after", "decoupled"])
}
CASES = {
    "cgm": Case(scale_by_cgm, 0.9, "confidence"),
    "averaged": Case(averaged, 0.9, "confidence"),
    "decoupled": Case(decoupled, 0.9, "confidence"),
    "ogm": Case(scale_by_ogm, 0.1, "confidence"),
    "ogm-ge": Case(ogm_ge, 0.1, "confidence"),
    "cggm": Case(scale_by_cggm, 1.3, "accuracy"),
    "mmpareto": Case(combine_by_mmpareto, 1.5, "unimodal"),
    "rank": Case(scale_by_rank, 0.5, "confidence"),
    "inforeg": Case(inforeg, 0.95, "confidence"),
    "arl": Case(scale_by_arl, 8.0, "entropy"),
    "shuffled": Case(shuffled, 0.9, "confidence"),
    "shuffled-mean-one": Case(shuffled_mean_one, 0.9, "confidence"),
} | {name: Case(make, 0.9, "confidence") for make, name in chains.items()}
# Chains hold these transformations; `make test-slow` asks most of them too.
LATER = {*chains.values()} - {"adamw-before", "sgd-decoupled"}
every_case = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name, marks=[pytest.mark.slow] * (name in LATER)) for name, case in CASES.items()]
)


def random_tree(seed, dtype=np.float32, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(lambda shape: jnp.asarray(rng.normal(size=shape), dtype), shapes, is_leaf=is_shape)


def keyword_of(case, seed=0, dtype=np.float32):
    """The keyword of an update: a dominant `res`, or unimodal gradients, some of which conflict."""
    if case.keyword == "unimodal":
        return {"unimodal": random_tree(1000 + seed, dtype)}
    numbers = {
        "confidence": {"confidence": (60 + seed, 40)},
        "accuracy": {"accuracy": (0.5 + 0.01 * seed, 0.25 + 0.02 * seed)},
        "entropy": {"entropy": (0.6 + 0.1 * seed, 1.4), "magnitude": (3.0, 2.0)},
    }[case.keyword]
    return {
        keyword: {name: jnp.asarray(n, dtype) for name, n in zip(("res", "dense"), pair, strict=True)}
        for keyword, pair in numbers.items()
    }


def moved(params, step):
    """Parameters some updates later; a transformation may look at them."""
    return jax.tree.map(lambda p: p * (1 + step / 8), params)


def run(tx, case, steps=3, dtype=np.float32, jit=True):
    """Updates of all steps, and the last state."""
    start = random_tree(0, dtype)
    state, found = tx.init(start), []
    update = jax.jit(tx.update) if jit else tx.update
    for step in range(steps):
        params = moved(start, step)
        updates, state = update(random_tree(1 + step, dtype), state, params, **keyword_of(case, step))
        found.append(updates)
    return found, state


close = functools.partial(chex.assert_trees_all_close, rtol=2e-6, atol=1e-7)


def test_every_transformation_is_here():
    """Whatever the package offers that makes a transformation is made by some case."""
    offered = {
        name for name in dcdp_jax.optim.__all__ if name.startswith(("scale_by", "combine_by", "average", "build"))
    }
    made = {getattr(case.make, "func", case.make) for case in CASES.values()}
    inner = {
        averaged: "average_statistics",
        chain: "build_optimizer",
        decoupled: "scale_by_adam_with_decoupled_cgm",
        inforeg: "scale_by_inforeg",
        ogm_ge: "scale_by_ogm",
        shuffled: "scale_by_shuffled_cgm",
        shuffled_mean_one: "scale_by_shuffled_cgm",
    }
    assert offered == {inner.get(function, function.__name__) for function in made}


@every_case
def test_the_modulation_does_something(case):
    """Every other test would pass for a transformation that ignores its keyword."""
    tx, params, gradients = case(), random_tree(0), random_tree(1)
    # The second update: Adam hides a factor on the first gradient.
    _, state = tx.update(gradients, tx.init(params), params, **keyword_of(case))
    updates, _ = tx.update(gradients, state, moved(params, 1), **keyword_of(case))
    other = jax.tree.map(lambda x: x[..., ::-1] if x.ndim else 100 - x, keyword_of(case))
    changed, _ = tx.update(gradients, state, moved(params, 1), **other)
    assert float(jnp.abs(updates["res"]["w"] - changed["res"]["w"]).max()) > 1e-4


@every_case
def test_the_keyword_is_required_and_others_are_ignored(case):
    tx, params, gradients = case(), random_tree(0), random_tree(1)
    state = tx.init(params)
    with pytest.raises(ValueError, match=case.keyword):
        tx.update(gradients, state, params)
    plain = tx.update(gradients, state, params, **keyword_of(case))
    extra = tx.update(gradients, state, params, **keyword_of(case), value=jnp.float32(1), unexpected="anything")
    chex.assert_trees_all_equal(plain, extra)


@every_case
def test_jit_compiles_once_and_changes_nothing(case):
    tx, params = case(), random_tree(0)
    update = jax.jit(tx.update)
    state, plain_state = tx.init(params), jax.jit(tx.init)(params)
    for step in range(3):
        gradients, keyword, here = random_tree(1 + step), keyword_of(case, step), moved(params, step)
        updates, state = update(gradients, state, here, **keyword)
        plain, plain_state = tx.update(gradients, plain_state, here, **keyword)
        close((updates, state), (plain, plain_state))
    assert update._cache_size() == 1


@every_case
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_and_structure_are_kept(case, dtype):
    """Updates have the parameters' dtype, and `lax.cond` accepts the next state for the last, as optax tests it."""
    with jax.enable_x64(dtype == "float64"):
        tx, params = case(), random_tree(0, dtype)
        # A dtype that is not the parameters', to confuse.
        keyword = keyword_of(case, 1, dtype if case.keyword == "unimodal" else "bfloat16")

        @jax.jit
        def step(apply, gradients, state):
            return jax.lax.cond(
                apply, lambda: tx.update(gradients, state, params, **keyword), lambda: (gradients, state)
            )

        state = tx.init(params)
        updates, after = step(True, random_tree(1, dtype), state)
        chex.assert_trees_all_equal_dtypes(updates, params)
        chex.assert_trees_all_equal_structs(state, after)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
        assert all(np.isfinite(np.asarray(u, np.float64)).all() for u in jax.tree.leaves(updates))


@every_case
def test_labels_may_be_a_callable(case):
    by_name, _ = run(case(lambda tree: {name: LABELS[name] for name in tree}), case, jit=False)
    plain, _ = run(case(), case, jit=False)
    chex.assert_trees_all_equal(by_name, plain)


@every_case
def test_labels_may_go_deeper(case):
    """A label for each array is the same as one for the subtree."""
    deep = {name: dict.fromkeys(subtree, LABELS[name]) for name, subtree in SHAPES.items()}
    found, _ = run(case(deep), case, jit=False)
    plain, _ = run(case(), case, jit=False)
    chex.assert_trees_all_equal(found, plain)


@every_case
def test_vmap_over_seeds(case):
    tx, seeds = case(), range(3)
    stack = lambda trees: jax.tree.map(lambda *x: jnp.stack(x), *trees)  # noqa: E731
    params, gradients = (stack([random_tree(start + seed) for seed in seeds]) for start in (0, 10))
    keywords = stack([keyword_of(case, seed) for seed in seeds])
    states = jax.vmap(tx.init)(params)
    update = jax.jit(jax.vmap(lambda g, s, p, k: tx.update(g, s, p, **k)))
    updates, states = update(gradients, states, params, keywords)
    for seed in seeds:
        one = random_tree(seed)
        expected = tx.update(random_tree(10 + seed), tx.init(one), one, **keyword_of(case, seed))
        close(jax.tree.map(lambda x, seed=seed: x[seed], (updates, states)), expected)


def shares(tree, total, rng):
    """Different arrays for each device, with this mean or (total) this sum."""

    def divide(x):
        noise = rng.normal(size=(DEVICES, *x.shape)) * 0.1
        mean = np.asarray(x) / (DEVICES if total else 1)
        return jnp.asarray(mean + noise - noise.mean(axis=0), x.dtype)

    return jax.tree.map(divide, tree)


@every_case
def test_pmap_equals_one_device_with_the_global_batch(case):
    tx, rng = case(), np.random.default_rng(0)
    params = random_tree(0)
    reduce = jax.lax.psum if case.keyword == "confidence" else jax.lax.pmean

    def step(gradients, state, params, keyword):
        return tx.update(jax.lax.pmean(gradients, "data"), state, params, **reduce(keyword, "data"))

    step = jax.pmap(step, axis_name="data", in_axes=(0, None, None, 0), out_axes=0)
    per_device = step(
        shares(random_tree(1), False, rng),
        tx.init(params),
        params,
        shares(keyword_of(case), case.keyword == "confidence", rng),
    )
    expected = tx.update(random_tree(1), tx.init(params), params, **keyword_of(case))
    for device in (0, DEVICES - 1):
        found = jax.tree.map(lambda x, device=device: x[device], per_device)
        chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)


@every_case
def test_jit_over_a_mesh_with_sharded_parameters(case):
    tx = case()
    mesh = jax.make_mesh((DEVICES,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, jax.P("model"))
    place = functools.partial(jax.tree.map, lambda x: jax.device_put(x, sharding))
    params, gradients, keyword = place(random_tree(0)), place(random_tree(1)), keyword_of(case)
    if case.keyword == "unimodal":
        keyword = place(keyword)
    state = jax.jit(tx.init)(params)
    update = jax.jit(tx.update)
    updates, state = update(gradients, state, params, **keyword)
    _, state = update(gradients, state, params, **keyword)
    assert all(u.sharding.is_equivalent_to(sharding, u.ndim) for u in jax.tree.leaves(updates))
    params, gradients, keyword = random_tree(0), random_tree(1), keyword_of(case)
    expected, expected_state = tx.update(gradients, tx.init(params), params, **keyword)
    close(updates, expected)
    close(state, tx.update(gradients, expected_state, params, **keyword)[1])


@every_case
@pytest.mark.parametrize("combine", ["chain", "named_chain", "apply_if_finite"])
def test_around_it_nothing_changes(case, combine):
    tx = case()
    plain, plain_state = run(tx, case)
    wrapped = {
        "chain": lambda: optax.chain(optax.identity(), tx, optax.scale(1.0)),
        "named_chain": lambda: optax.named_chain(("first", optax.identity()), ("second", tx)),
        "apply_if_finite": lambda: optax.apply_if_finite(tx, 2),
    }[combine]()
    found, state = run(wrapped, case)
    close(found, plain)
    chex.assert_trees_all_close(coefficients_of(state), coefficients_of(plain_state))
    assert (coefficients_of(state) is None) == (case.keyword == "unimodal")


@every_case
def test_apply_if_finite_leaves_the_state_of_a_rejected_update(case):
    tx, params = optax.apply_if_finite(case(), 2), random_tree(0)
    _, state = tx.update(random_tree(1), tx.init(params), params, **keyword_of(case))
    bad = random_tree(2)
    bad["dense"]["w"] = bad["dense"]["w"].at[0, 0].set(jnp.nan)
    updates, after = tx.update(bad, state, params, **keyword_of(case, 1))
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, bad))
    chex.assert_trees_all_equal(after.inner_state, state.inner_state)


@every_case
@pytest.mark.parametrize("wrapper", ["masked", "partition"])
def test_branches_only(case, wrapper):
    """What `masked` and `partition` keep from it reaches the branches no differently."""
    inner = case()
    if wrapper == "masked":
        tx = optax.masked(inner, {"res": True, "dense": True, "fusion": False})
        head = lambda g: g  # noqa: E731
    else:
        groups = {"res": "branches", "dense": "branches", "fusion": "head"}
        tx = optax.partition({"branches": inner, "head": optax.sgd(0.5)}, groups)
        head = lambda g: -0.5 * g  # noqa: E731
    params = random_tree(0)
    of_branches = {name: params[name] for name in ("res", "dense")}
    alone = case({"res": "res", "dense": "dense"})
    state, alone_state = tx.init(params), alone.init(of_branches)
    for step in range(2):
        gradients, keyword = random_tree(1 + step), keyword_of(case, step)
        updates, state = tx.update(gradients, state, params, **keyword)
        if case.keyword == "unimodal":
            keyword = {"unimodal": {name: keyword["unimodal"][name] for name in of_branches}}
        expected, alone_state = alone.update(
            {name: gradients[name] for name in of_branches}, alone_state, of_branches, **keyword
        )
        if case.make is not ogm_ge:  # whose noise depends on the number of arrays
            close({name: updates[name] for name in of_branches}, expected)
        close(updates["fusion"], jax.tree.map(head, gradients["fusion"]))
    chex.assert_trees_all_close(coefficients_of(state), coefficients_of(alone_state))


wrapped = (averaged, ogm_ge, inforeg, shuffled, shuffled_mean_one, *chains)


@every_case
def test_inject_hyperparams(case):
    """All numbers among its arguments may become state, and be changed there; a random key stays a number."""
    make = scale_by_adam_with_decoupled_cgm if case.make is decoupled else case.make
    static = {"key"} & set(inspect.signature(make).parameters)
    by_make = {scale_by_rank: "strong", scale_by_arl: "temperature"} | dict.fromkeys(wrapped, "strength")
    strength = {"confidence": "alpha", "accuracy": "rho", "unimodal": "rescale"}.get(case.keyword)
    strength = by_make.get(case.make, strength)
    tx = optax.inject_hyperparams(make, static)(LABELS, **{strength: case.strength})
    params = random_tree(0)
    plain, plain_state = run(case(), case)
    found, state = run(tx, case)
    # optax's own tolerance here: 1 - b2 is rounded where b2 is an array.
    chex.assert_trees_all_close((found, state.inner_state), (plain, plain_state), rtol=1e-5, atol=1e-5)
    assert float(state.hyperparams[strength]) == pytest.approx(case.strength)
    state.hyperparams[strength] = jnp.float32(case.strength / 2)
    last = random_tree(9), moved(params, 9), keyword_of(case, 9)
    changed, _ = tx.update(last[0], state, last[1], **last[2])
    unchanged, _ = case().update(last[0], plain_state, last[1], **last[2])
    assert float(jnp.abs(changed["res"]["w"] - unchanged["res"]["w"]).max()) > 1e-4


@every_case
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_accumulated_gradients_equal_their_mean(case, dtype):
    inner, params, keyword = case(), random_tree(0, dtype), keyword_of(case, 0, dtype)
    tx = optax.MultiSteps(inner, every_k_schedule=4)
    state, update = tx.init(params), jax.jit(tx.update)
    gradients = [random_tree(1 + i, dtype) for i in range(4)]
    for g in gradients[:3]:
        updates, state = update(g, state, params, **keyword)
        chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, params))
        chex.assert_trees_all_equal(state.inner_opt_state, inner.init(params))
    updates, state = update(gradients[3], state, params, **keyword)
    mean = jax.tree.map(lambda *x: np.mean([np.asarray(y, np.float32) for y in x], axis=0), *gradients)
    mean = jax.tree.map(lambda x: jnp.asarray(x, dtype), mean)
    expected, expected_state = inner.update(mean, inner.init(params), params, **keyword)
    # A running mean of four in bfloat16 is good to some of its 8 bits.
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 0.05, "atol": 0.05}
    chex.assert_trees_all_close(updates, expected, **tolerance)
    chex.assert_trees_all_close(coefficients_of(state), coefficients_of(expected_state), rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ({"res": "res", "dense": "dense"}, "tree"),
        ({**LABELS, "further": None}, "tree"),
        (["res", "dense"], "tree"),
        ({**LABELS, "res": {"w": "res"}}, "tree['res']"),
        (lambda tree: {**LABELS, "dense": ["dense"]}, "tree['dense']"),
    ],
)
@every_case
def test_labels_that_do_not_fit_are_named(case, labels, place):
    tx, params = case(labels), random_tree(0)
    named = re.escape(f"labels={labels(params) if callable(labels) else labels!r} do not fit the parameters")
    with pytest.raises(ValueError, match=rf"^{named}.* at key path tree_map {re.escape(place)} .*$"):
        tx.init(params)


@every_case
def test_tree_map_params(case):
    tx = case()
    _, state = run(tx, case, jit=False)
    chex.assert_trees_all_equal(optax.tree.map_params(tx, lambda x: x, state), state)


@every_case
def test_state_survives_orbax(case, tmp_path):
    tx, params = case(), random_tree(0)
    _, state = run(tx, case)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", jax.eval_shape(tx.init, params))
    chex.assert_trees_all_equal(restored, state)
    chex.assert_trees_all_equal_structs(restored, state)
    following = [tx.update(random_tree(9), s, params, **keyword_of(case, 9)) for s in (restored, state)]
    chex.assert_trees_all_equal(*following)


@every_case
def test_a_parabola_is_descended(case):
    target = random_tree(7)
    rate = optax.linear_schedule(0.2, 0.0, 1000)
    tx = optax.chain(case(), optax.scale_by_schedule(rate))
    sign = 1 if case.make in chains else -1  # chains end with the learning rate

    def step(carry, _):
        params, state = carry
        gradients = jax.tree.map(lambda p, t: p - t, params, target)
        keyword = {"unimodal": gradients} if case.keyword == "unimodal" else keyword_of(case)
        updates, state = tx.update(gradients, state, params, **keyword)
        return (jax.tree.map(lambda p, u: p + sign * u, params, updates), state), None

    params = random_tree(0)
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=1000)
    chex.assert_trees_all_close(params, target, atol=0.05)


class LinenModel(nn.Module):
    """Two encoders and a fusion, as parameters `res`, `dense` and `fusion`."""

    @nn.compact
    def __call__(self, x):
        h = jnp.concatenate([nn.Dense(4, name="res")(x[:, :3]), nn.Dense(4, name="dense")(x[:, 3:])], axis=-1)
        return nn.Dense(2, name="fusion")(jnp.tanh(h))


class NNXModel(nnx.Module):
    """The same."""

    def __init__(self, rngs):
        self.res, self.dense = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(2, 4, rngs=rngs)
        self.fusion = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x):
        return self.fusion(jnp.tanh(jnp.concatenate([self.res(x[:, :3]), self.dense(x[:, 3:])], axis=-1)))


def loss(logits):
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(6) % 2).mean()


X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)


@pytest.fixture(scope="module")
def linen():
    """Parameters and gradients of a Linen model: nested dictionaries."""
    model = LinenModel()
    params = model.init(jax.random.key(0), X)["params"]
    return params, jax.grad(lambda p: loss(model.apply({"params": p}, X)))(params)


def as_tuples(tree):
    """A pytree that is no dictionary of the branches' names: (res, dense, fusion), each (kernel, bias)."""
    return tuple((tree[name]["kernel"], tree[name]["bias"]) for name in LABELS)


def keyword_for(case, gradients):
    return {"unimodal": jax.tree.map(jnp.sin, gradients)} if case.keyword == "unimodal" else keyword_of(case)


@every_case
def test_a_linen_model_and_a_plain_pytree(case, linen):
    """Their updates are the same arrays, and the next loss is smaller along them."""
    params, gradients = linen
    tx, plain = case(), case(tuple(LABELS.values()))
    updates, _ = tx.update(gradients, tx.init(params), params, **keyword_for(case, gradients))
    of_tuples, _ = plain.update(
        as_tuples(gradients),
        plain.init(as_tuples(params)),
        as_tuples(params),
        **keyword_for(case, as_tuples(gradients)),
    )
    if case.make is not ogm_ge:  # whose noise depends on the order of the arrays
        close(as_tuples(updates), of_tuples)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)


@every_case
def test_an_nnx_model(case):
    """`nnx.Optimizer` passes the keyword on; labels name the attributes of the module."""
    model = NNXModel(nnx.Rngs(0))
    gradients = nnx.grad(lambda m: loss(m(X)))(model)
    before, plain_gradients = (nnx.to_pure_dict(nnx.state(x, nnx.Param)) for x in (model, gradients))
    optimizer = nnx.Optimizer(model, case(lambda tree: type(tree)(LABELS)), wrt=nnx.Param)
    keyword = keyword_for(case, nnx.as_pure(nnx.state(gradients, nnx.Param)))
    optimizer.update(model, gradients, **keyword)
    tx = case()
    updates, _ = tx.update(plain_gradients, tx.init(before), before, **keyword_for(case, plain_gradients))
    close(nnx.to_pure_dict(nnx.state(model, nnx.Param)), optax.apply_updates(before, updates))


ALONE = """
import sys
refused = set({refused})
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if path is None and name in refused:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)
sys.meta_path.insert(0, Refuse())
import dcdp_jax.optim
import jax.numpy as jnp
import optax
tx = optax.chain(dcdp_jax.optim.scale_by_cgm({{"a": "a", "b": "b"}}), optax.sgd(1.0))
params = {{"a": jnp.ones(2), "b": jnp.ones(2)}}
updates, _ = tx.update(params, tx.init(params), confidence={{"a": 60.0, "b": 40.0}})
print([name for name in sys.modules if name.startswith("dcdp_jax.") and not name.startswith("dcdp_jax.optim")])
print(round(float(-updates["a"][0]), 3))
"""


def test_it_stands_alone():
    """`dcdp_jax.optim` works with JAX, optax, jaxtyping and what these require, and imports nothing else of ours."""
    installed, wanted = set(), ["jax", "optax", "jaxtyping"]
    while wanted:
        name = wanted.pop()
        if name not in installed:
            installed.add(name)
            wanted += [
                re.split(r"[^\w.-]", line)[0].lower().replace("_", "-")
                for line in importlib.metadata.requires(name) or ()
                if "extra ==" not in line
            ]
    modules = importlib.metadata.packages_distributions().items()
    refused = {top for top, names in modules if not installed & spelt(names)} - {"dcdp_jax"}
    assert {"flax", "chex", "pandas"} < refused
    program = ALONE.format(refused=sorted(refused))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "0.578"]


def spelt(distributions):
    return {name.lower().replace("_", "-") for name in distributions}
