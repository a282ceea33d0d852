"""The audit accepts what the protocols make of random recordings, and rejects every leak that is planted."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dcdp_jax.data.audit import audit, check_copies
from dcdp_jax.data.normalize import METHODS, covered_samples, fit_normalizer
from dcdp_jax.data.pool import Interval, make_pool
from dcdp_jax.data.protocols import SPLITS, Protocol
from dcdp_jax.data.recording import content_digest
from dcdp_jax.data.windows import LABEL_RULES, WindowIndex
from dcdp_jax.errors import DataError
from tests.data.making import EVERY, Prepared, data_config, pool_of, prepare, random_recording, random_recordings

STRICT = [pair for pair in EVERY if pair[1] != "random"]
BY_SUBJECT = [pair for pair in STRICT if pair[1] in ("official", "standard", "subject", "loso")]
# Making recordings of 30 subjects takes longer than hypothesis likes.
quietly = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(prepared: Prepared, **changes):
    return audit(**{**prepared._asdict(), **changes})


@st.composite
def plans(draw, pairs=EVERY, join=False):
    """A data set, a seed for its recordings and the fields of a config."""
    dataset, name = draw(st.sampled_from(pairs))
    fields = {
        "window": draw(st.integers(2, 9)),
        "step": draw(st.integers(1, 9)),
        "label_rule": draw(st.sampled_from(LABEL_RULES)),
        "normalize": draw(st.sampled_from(METHODS[:2])),
        "fold": draw(st.integers(0, 3)) if name in ("loso", "random") else 0,
        "join_recordings": join,
    }
    return dataset, name, draw(st.integers(0, 10**6)), fields


def carry_out(plan):
    """Divided, windowed and fitted. Not part of the strategy, as type checks draw random numbers."""
    dataset, name, seed, fields = plan
    made = prepare(random_recordings(dataset, seed), data_config(dataset, name, **fields))
    assume(all(len(index.start) > 1 for index in made.windows.values()))
    return made


def moved(made, split, starts):
    """The windows of a split with the first ones moved elsewhere."""
    index = made.windows[split]
    start = index.start.copy()
    start[: len(starts)] = starts
    return {**made.windows, split: WindowIndex(start, index.label)}


@quietly
@given(plans())
def test_what_protocols_make_is_accepted(plan):
    made = carry_out(plan)
    proved = check(made)
    assert any("leaky" in sentence for sentence in proved) == made.protocol.leaky
    assert any("share a subject" in sentence for sentence in proved) == made.protocol.by_subject
    # Proved once more, sample by sample.
    covered = {s: covered_samples(i.start, made.window, len(made.pool.labels)) for s, i in made.windows.items()}
    stretch = np.searchsorted(made.pool.starts, np.arange(len(made.pool.labels)), side="right")
    for index in made.windows.values():
        assert np.array_equal(stretch[index.start], stretch[index.start + made.window - 1])
    if not made.protocol.leaky:
        assert max(sum(covered[split].astype(int) for split in SPLITS)) == 1


@quietly
@given(plans([(d, p) for d, p in STRICT if d == "opportunity"], join=True))
def test_joined_recordings_are_accepted_when_asked_for(plan):
    made = carry_out(plan)
    check(made, join=True)
    inside = [
        made.pool.recording_of(i.start) == made.pool.recording_of(i.start + made.window - 1)
        for i in made.windows.values()
    ]
    if not all(same.all() for same in inside):
        with pytest.raises(DataError, match=r"crosses a gap|leaves the part"):
            check(made)


@quietly
@given(plans(STRICT), st.permutations(SPLITS), st.data())
def test_a_window_moved_into_another_part_is_rejected(plan, order, data):
    made = carry_out(plan)
    target, source = order[:2]
    place = data.draw(st.integers(0, len(made.windows[target].start) - 1))
    windows = moved(made, source, [made.windows[target].start[place]])
    with pytest.raises(DataError):
        check(made, windows=windows)


@quietly
@given(plans(STRICT), st.permutations(SPLITS), st.data())
def test_shared_samples_are_found_even_where_the_protocol_allows_them(plan, order, data):
    made = carry_out(plan)
    # The protocol itself is wrong here: it gives all recordings to all parts, as `random` does, but does not say so.
    everything = [Interval(i, 0, int(n)) for i, n in enumerate(np.diff(made.pool.offsets))]
    protocol = Protocol("wrong", dict.fromkeys(SPLITS, everything))
    place = data.draw(st.integers(0, len(made.windows[order[0]].start) - 1))
    windows = moved(made, order[1], [made.windows[order[0]].start[place]])
    normalizer = fit_normalizer(
        made.pool.signals, covered_samples(windows["train"].start, made.window, len(made.pool.labels)), made.method
    )
    with pytest.raises(DataError, match=r"protocol wrong: \w+ and \w+ share \d+ samples, the first is subject \d+"):
        check(made, protocol=protocol, windows=windows, normalizer=normalizer)


@quietly
@given(plans(), st.sampled_from(SPLITS), st.data())
def test_a_window_across_a_gap_is_rejected(plan, split, data):
    made = carry_out(plan)
    gaps = np.setdiff1d(made.pool.starts, made.pool.offsets)
    at = int(data.draw(st.sampled_from(gaps.tolist())))
    before = data.draw(st.integers(1, made.window - 1))
    assume(at - before >= 0 and at - before + made.window <= len(made.pool.labels))
    with pytest.raises(DataError, match=r"crosses a gap|leaves the part"):
        check(made, windows=moved(made, split, [at - before]))


@quietly
@given(plans(), st.sampled_from(SPLITS), st.sampled_from([-5, -1, 0, 3]))
def test_a_window_outside_the_data_is_rejected(plan, split, beyond):
    made = carry_out(plan)
    last = len(made.pool.labels) - made.window
    start = beyond if beyond < 0 else last + 1 + beyond
    with pytest.raises(DataError, match=r"a \w+ window from subject .* leaves the part"):
        check(made, windows=moved(made, split, [start]))


@quietly
@given(plans(BY_SUBJECT))
def test_a_subject_in_two_parts_is_rejected(plan):
    made = carry_out(plan)
    # A recording of the test set turns out to be a training subject's.
    train, test = (int(made.pool.recording_of(made.windows[s].start[:1])[0]) for s in ("train", "test"))
    subjects = made.pool.subjects.copy()
    subjects[test] = subjects[train]
    with pytest.raises(DataError, match=rf"train and test share the subjects \[{subjects[train]}\]"):
        check(made, pool=dataclasses.replace(made.pool, subjects=subjects))


@quietly
@given(plans([pair for pair in STRICT if pair != ("wisdm", "paper")]))
def test_a_recording_copied_under_another_name_is_rejected(plan):
    made = carry_out(plan)
    digests = [str(i) for i in range(len(made.pool.subjects))]
    check(made, digests=digests)
    train, test = (int(made.pool.recording_of(made.windows[s].start[:1])[0]) for s in ("train", "test"))
    digests[test] = digests[train]
    with pytest.raises(DataError, match=r"train and test share a recording: subject .* have the same content"):
        check(made, digests=digests)


@pytest.mark.parametrize(("train", "test"), [((0, 1), (1,)), ((0, 1), (0,)), ((1,), (0, 1)), ((0, 1), (0, 1))])
def test_a_copy_of_a_recording_that_both_parts_hold_is_rejected(train, test):
    """As by a protocol that divides recordings."""
    rng = np.random.default_rng(0)
    pool = pool_of([random_recording(rng, 1, run, 200) for run in ("a", "b")])
    first = np.arange(400) % 200 < 100
    covered = {
        "train": first & np.isin(np.arange(400) // 200, train),
        "test": ~first & np.isin(np.arange(400) // 200, test),
    }
    check_copies(pool, "train", "test", covered, ["0", "1"])
    with pytest.raises(DataError, match=r"share a recording: subject 1, run \w and subject 1, run \w have the same"):
        check_copies(pool, "train", "test", covered, ["0", "0"])


@quietly
@given(plans(STRICT), st.sampled_from(["validation", "test", "everything"]))
def test_a_normalizer_fitted_elsewhere_is_rejected(plan, part):
    made = carry_out(plan)
    covered = {s: covered_samples(i.start, made.window, len(made.pool.labels)) for s, i in made.windows.items()}
    covered["everything"] = covered["train"] | covered["test"]
    wrong = fit_normalizer(made.pool.signals, covered[part], made.method)
    right = made.normalizer
    assume(not all(np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(wrong, right, strict=True)))
    with pytest.raises(DataError, match=r"the normaliser of channel .* is not the training set's"):
        check(made, normalizer=wrong)


def test_a_normalizer_that_does_anything_is_not_none():
    made = prepare(random_recordings("dsads", 0), data_config("dsads", "standard", window=5, step=5, normalize="none"))
    check(made)
    with pytest.raises(DataError, match="the normaliser of channel acc_x"):
        check(made, normalizer=made.normalizer._replace(scale=made.normalizer.scale * 2))


@pytest.mark.parametrize("method", METHODS)
def test_constant_and_large_channels_are_accepted(method):
    recordings = random_recordings("dsads", 0)
    for recording in recordings:
        recording.signals[:, 0] = 0
        recording.signals[:, 1] = 0.1
        recording.signals[:, 2] = 1e6 + recording.signals[:, 2]
        recording.signals[:, 3] *= 1e-6
    check(prepare(recordings, data_config("dsads", "standard", window=5, step=5, normalize=method)))


def test_digests_see_content_and_not_names():
    recordings = random_recordings("dsads", 0)
    twin = dataclasses.replace(recordings[0], subject=8, run="x")
    assert content_digest(twin) == content_digest(recordings[0])
    assert content_digest(recordings[1]) != content_digest(recordings[0])
    assert make_pool([twin], len(twin.labels), {}).subjects.tolist() == [8]


@pytest.mark.parametrize(("split", "value"), [("test", 3e12), ("validation", -1e38), ("test", np.inf), ("train", 1e38)])
def test_a_value_beyond_any_measurement_is_named(split, value):
    made = prepare(random_recordings("dsads", 0), data_config("dsads", "standard", window=5, step=5))
    made.pool.signals[int(made.windows[split].start[1]) + 2, 2] = value
    training = covered_samples(made.windows["train"].start, made.window, len(made.pool.labels))
    normalizer = fit_normalizer(made.pool.signals, training, made.method)
    with pytest.raises(DataError, match=rf"{split}, subject \d+, run .*, sample \d+: {made.pool.channels[2].name} is"):
        check(made, normalizer=normalizer)


def test_a_stretch_of_signal_under_two_names_is_rejected():
    recordings = random_recordings("dsads", 0)
    made = prepare(recordings, data_config("dsads", "standard", window=20, step=20))
    rng = np.random.default_rng(0)
    made.pool.signals[:] = rng.normal(size=made.pool.signals.shape)

    def checked():
        training = covered_samples(made.windows["train"].start, made.window, len(made.pool.labels))
        return check(made._replace(normalizer=fit_normalizer(made.pool.signals, training, made.method)))

    assert any("a stretch of signal" in sentence for sentence in checked())
    train, test = (int(made.windows[split].start[0]) for split in ("train", "test"))
    made.pool.signals[test : test + 20] = made.pool.signals[train : train + 20]
    with pytest.raises(DataError, match=r"train and test share 20 samples of signal under two names: subject \d, run"):
        checked()
