"""Hyperparameters as arguments of the compiled step: the numbers of constants, and one program for many rows."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.studies import table1
from configs.studies.default import smallest
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.models.dropout import dropout
from dcdp_jax.models.fusion import FusionHead
from dcdp_jax.models.multipath import BranchSpec, Outputs
from dcdp_jax.optim.methods import NAMES
from dcdp_jax.studies.grid import stages_of, trials_of
from dcdp_jax.train import build
from dcdp_jax.train.hyperparameters import hyperparameters, program_of, with_hyperparameters
from dcdp_jax.train.input_pipeline import batches_of, joint_batches
from dcdp_jax.train.state import state_shapes
from dcdp_jax.train.trainer import lay_out, train

STEPS, BATCH = 3, 8
# None of them a default, and none 0.
NUMBERS = {
    "optimizer.learning_rate": 0.02,
    "optimizer.b1": 0.8,
    "optimizer.b2": 0.95,
    "optimizer.eps": 1e-6,
    "optimizer.weight_decay": 0.05,
    "optimizer.clip_norm": 2.0,
    "cgm.alpha": 0.6,
    "cgm.eps": 1e-6,
    "modulation.alpha": 0.3,
    "modulation.rho": 1.1,
    "modulation.rescale": 1.2,
    "modulation.strong": 0.4,
    "modulation.weak": 0.9,
    "modulation.beta": 0.5,
    "modulation.threshold": 0.02,
    "modulation.temperature": 3.0,
    "modulation.least_share": 0.2,
    "loss.align_weight": 0.4,
    "loss.temperature": 0.3,
    "loss.label_smoothing": 0.1,
    "model.dropout": 0.3,
    "model.modality_dropout": 0.2,
    "modulation.confidence_decay": 0.7,
    "train.ema_decay": 0.9,
    "augment.probability": 0.7,
    "augment.jitter_sigma": 0.1,
    "augment.scaling_sigma": 0.2,
    "augment.rotation_tilt": 20.0,
    "augment.time_warp_sigma": 0.3,
    "augment.mixup_alpha": 0.4,
}
# The same with other numbers, from which the program that is given NUMBERS as arguments is built.
OTHERS = {name: value / 2 for name, value in NUMBERS.items()}


class Network(nn.Module):
    """Outputs with every part that a loss reads, from layers that compile at once."""

    branches: Any
    classes: int
    blocks: Any
    rate: Any

    @nn.compact
    def __call__(self, x, train=False, keys=None, modulation=None):
        del train
        h, logits = {}, {}
        for name, _, channels in self.branches:
            part = x[..., jnp.array(channels)].mean(axis=1)
            part = jnp.tanh(nn.Dense(sum(self.blocks), name=f"{name}_hidden")(part))
            h[name] = nn.Dense(4, name=f"{name}_embedding")(part)
            logits[name] = nn.Dense(self.classes, name=f"{name}_classifier")(h[name])
        if modulation is not None:
            M = modulation(logits)
            logits = {name: z * M[name] for name, z in logits.items()}
        fusion = dropout(jnp.concatenate(list(h.values()), axis=-1), keys, self.rate)
        return Outputs(nn.Dense(self.classes, name="fusion")(fusion), logits, h, [h])


@pytest.fixture(scope="module", autouse=True)
def small_network():
    def build_model(config, branches, classes):
        return Network(
            branches, classes, config.model.resnet_blocks + config.model.densenet_blocks, config.model.dropout
        )

    def modulation_labels(branches, scope):
        del scope
        names = [branch.name for branch in branches]
        return lambda params: {key: next((name for name in names if key.startswith(name)), None) for key in params}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "build_model", build_model)
        patch.setattr(build, "modulation_labels", modulation_labels)
        yield


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(smallest().data)


def config_of(numbers=NUMBERS, **fields):
    config = smallest()
    config.update_from_flattened_dict(
        {
            "parallel.devices": 1,
            "train.batch_size": BATCH,
            "train.epochs": 1,
            "model.resnet_blocks": (1,),
            "model.densenet_blocks": (1,),
        }
    )
    config.update_from_flattened_dict({**numbers, **fields})
    return config


def steps_of(run, seed, numbers, first=0):
    """The state after some steps, and their metrics."""
    state, split = run.devices.replicate(run.initial_state(seed)), run.dataset.splits["train"]
    rows = np.arange(STEPS * BATCH).reshape(STEPS, BATCH) + first
    found = []
    for i in range(STEPS):
        batch = run.devices.shard(batches_of(split, rows[i:], 1))
        state, metrics = run.step(state, run.signals, batch, run.devices.replicate(numbers))
        found.append(metrics)
    return jax.device_get((state, found))


def assert_same(found, wanted):
    """To 1e-6 of the largest of each array, or of 1."""
    for x, y in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-6 * max(1, np.abs(y).max()))


def test_numbers_are_all_that_are_no_defaults_of_a_float_field():
    assert set(hyperparameters(config_of())) == set(NUMBERS)


EVERYTHING = {
    "augment.enabled": True,
    "augment.rotation_kind": "gravity",
    "train.selection": "ema",
    "optimizer.schedule": "constant",
    "optimizer.warmup_fraction": 0.2,
}
CASES = [
    EVERYTHING,
    *(
        pytest.param(fields, marks=pytest.mark.slow)
        for fields in (
            *({"optimizer.name": name} for name in ("sgd", "adam", "adamw")),
            *({"modulation.name": name} for name in NAMES),
            {"cgm.scope": "classification"},
            {"train.precision": "bfloat16"},
            {"augment.enabled": True},
        )
    ),
]


@pytest.mark.parametrize("fields", CASES, ids=str)
def test_arguments_give_the_numbers_of_constants(fields, dataset):
    """A program that is built from other numbers, and is given these, against one in which these are constants."""
    config, other = config_of(**fields), config_of(OTHERS, **fields)
    assert program_of(config) == program_of(other)
    constants = steps_of(build.prepare(config, dataset), 0, {})
    assert_same(steps_of(build.prepare(other, dataset), 0, hyperparameters(config)), constants)


PARAMS = {"res": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "dense": jnp.array([0.3, -0.7]), "fusion": jnp.ones((2, 1))}
STATISTICS = {
    "confidence": {"res": 6.0, "dense": 4.0},
    "accuracy": {"res": 0.5, "dense": 0.25},
    "entropy": {"res": 0.6, "dense": 1.4},
    "magnitude": {"res": 3.0, "dense": 1.0},
    "unimodal": {"res": jnp.ones((2, 2)), "dense": -jnp.ones(2), "fusion": jnp.zeros((2, 1))},
}
CHAINS = [
    *({"optimizer.name": "adamw", "modulation.name": name} for name in NAMES),
    *({"optimizer.name": name, "cgm.placement": "after"} for name in ("sgd", "adam", "adamw")),
    *({"optimizer.name": name, "cgm.placement": "decoupled"} for name in ("adam", "adamw")),
    {"optimizer.name": "adamw", "modulation.confidence": "ema"},
    *({"optimizer.name": "sgd", "modulation.name": name, "modulation.end_epoch": 1} for name in ("ogm", "arl")),
]


@pytest.mark.parametrize("fields", CHAINS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_a_chain_of_traced_numbers_is_that_of_constants(fields):
    """Three updates of every optimiser and modulation. Tolerance: 1e-6."""
    config = config_of(**fields)
    branches = [BranchSpec("res", "resnet", ()), BranchSpec("dense", "densenet", ())]

    def updated(numbers):
        tx = build.build_chain(with_hyperparameters(config_of(OTHERS, **fields), numbers), branches, STEPS)
        state, params = tx.init(PARAMS), PARAMS
        for scale in (1.0, -0.5, 2.0):
            gradients = jax.tree.map(lambda p, scale=scale: scale * jnp.cos(p), PARAMS)
            updates, state = tx.update(gradients, state, params, **STATISTICS)
            params = optax.apply_updates(params, updates)
        return params, state

    arguments = jax.jit(updated)(hyperparameters(config))
    constants = jax.jit(lambda: updated(NUMBERS))()
    assert_same(arguments, constants)
    moved = max(np.abs(x - y).max() for x, y in zip(*map(jax.tree.leaves, (arguments[0], PARAMS)), strict=True))
    assert moved > 1e-3


def test_a_fusion_of_traced_rates_is_that_of_constants():
    h = {name: jax.random.normal(jax.random.key(i), (32, 4)) for i, name in enumerate(("res", "dense"))}
    keys = jax.random.split(jax.random.key(2), 32)

    def fused(dropout, modality_dropout):
        head = FusionHead(3, 4, dropout, modality_dropout=modality_dropout)
        # Replacements that are not 0.
        params = jax.tree.map(lambda x: x + 0.1, head.init(jax.random.key(3), h, h, keys))
        return head.apply(params, h, h, keys)

    arguments, constants = jax.jit(fused)(0.3, 0.2), jax.jit(lambda: fused(0.3, 0.2))()
    assert_same(arguments, constants)
    assert np.abs(constants - fused(0.0, 0.0)).max() > 1e-3


def texts_of(configs, dataset):
    """The lowered training step of each config."""
    for config in configs:
        run = build.prepare(config, dataset)
        batch = batches_of(dataset.splits["train"], np.arange(BATCH)[None], 1)
        branches = build.build_branches(config, dataset)
        model = build.build_model(config, branches, len(dataset.class_names))
        chain = build.build_chain(config, branches, run.steps_per_epoch)
        state = state_shapes(model, chain, dataset.window, len(dataset.channels))
        lowered = run.step.lower(state, run.signals, run.devices.shard(batch), hyperparameters(config))
        yield lowered.as_text()


def table1_configs():
    """The rows of Table 1, each stage on a row of the one before."""
    study = table1.get_config()
    study.datasets = {"small": config_of({})}
    study.study.seeds = (0,)
    base = {}
    for stage, best in zip(stages_of(study), ("A1", "B2", "C4", "D5"), strict=True):
        yield from (trial.config for trial in trials_of(study, stage, base))
        base |= next(row.fields for row in stage.rows if row.name == best)


@pytest.mark.slow
def test_table_1_has_seven_programs(dataset):
    """Three optimisers and four depths. Rows of one program have the same text, those of two have not."""
    configs = list(table1_configs())
    assert len(configs) == 19
    programs = [program_of(config) for config in configs]
    texts = list(texts_of(configs, dataset))
    assert len(set(texts)) == len(set(programs)) == len(set(zip(programs, texts, strict=True))) == 7


def test_a_number_that_is_0_stays_a_constant():
    assert set(hyperparameters(config_of(**{"model.dropout": 0.0}))) == set(NUMBERS) - {"model.dropout"}
    assert program_of(config_of()) != program_of(config_of(**{"model.dropout": 0.0}))


def test_fields_that_the_step_does_not_read_leave_the_program_as_it_is():
    def program(**fields):
        return program_of(config_of(**fields))

    assert program(**{"train.checkpoint_every": 3, "seed": 5}) == program()
    assert program(**{"train.skip_nonfinite": 8}) == program(**{"train.skip_nonfinite": 2}) != program()


def test_a_run_of_another_program_is_refused(dataset, tmp_path):
    run = build.prepare(config_of(), dataset)
    with pytest.raises(ValueError, match="not all of the program"):
        train(config_of(**{"optimizer.name": "sgd"}), tmp_path / "run", run)


def test_rows_trained_at_once_are_those_of_each_alone(dataset):
    """Two configs with other seeds and numbers as two lanes of one program. Tolerance: 1e-6, as of one by one."""
    configs = [config_of(), config_of(OTHERS)]
    run = build.prepare(configs[0], dataset)
    rows = {place: np.arange(STEPS * BATCH).reshape(STEPS, BATCH) + place for place in (0, 1)}
    state = lay_out([run.initial_state(place) for place in rows], run)
    numbers = lay_out([hyperparameters(config) for config in configs], run)
    for i in range(STEPS):
        left = {place: rows[place][i:] for place in rows}
        batch = joint_batches(dict.fromkeys(left, dataset.splits["train"]), left, 1, 2, divide_seeds=False)
        state, metrics = run.step_together(state, run.signals, run.devices.shard(batch), numbers)
    for place, config in enumerate(configs):
        alone, history = steps_of(run, place, hyperparameters(config), first=place)
        assert_same(jax.tree.map(lambda x, place=place: x[place], state.params), alone.params)
        assert_same(jax.tree.map(lambda x, place=place: x[place], metrics["loss"]), history[-1]["loss"])
