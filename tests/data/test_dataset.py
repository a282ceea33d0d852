"""The data part as a whole: from a config to windows, what is recorded about them, and what cannot be built."""

import dataclasses
import itertools
import json
import tracemalloc

import numpy as np
import pytest

from configs import default, hapt, oppo_challenge, wisdm
from dcdp_jax.data import dataset as dataset_module
from dcdp_jax.data import make_windows
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.datasets import hapt as hapt_reader
from dcdp_jax.data.datasets import opportunity
from dcdp_jax.data.datasets import wisdm as wisdm_reader
from dcdp_jax.data.normalize import covered_samples
from dcdp_jax.data.partition import partition
from dcdp_jax.data.recording import UNLABELLED, Recording, Recordings
from dcdp_jax.errors import ConfigError, DataError
from tests.data.making import CHANNELS, random_recordings

NAMES = ("sit", "walk", "run")


def small(**fields):
    """Six synthetic subjects of one minute."""
    data = default.get_config().data
    data.name, data.protocol, data.window, data.step = "synthetic", "subject", 32, 16
    data.synthetic.subjects, data.synthetic.minutes = 6, 1.0
    for field, value in fields.items():
        data[field] = value
    return data


@pytest.fixture
def readers(monkeypatch):
    """Puts recordings in the place of a data set's own; returns a function that does."""

    def replace(recordings, names=NAMES, missing=()):
        monkeypatch.setattr(
            dataset_module, "read_dataset", lambda *_: Recordings(list(recordings), names, missing=missing)
        )

    return replace


def windows_of(dataset, split):
    """(n, window, c) signals of a part."""
    starts = dataset.splits[split].starts
    return dataset.signals[starts[:, None] + np.arange(dataset.window)]


def test_what_is_recorded():
    dataset = build_dataset(small())
    assert dataset.marks == ("synthetic",)
    assert dataset.rate == 25.0
    assert set(dataset.windows) == {"train", "validation", "test"}
    for split, part in dataset.splits.items():
        assert part.starts.dtype == part.labels.dtype == part.subjects.dtype == np.int32
        assert dataset.windows[split] == len(part.labels) == len(part.starts) == len(part.subjects)
        assert sum(dataset.counts[split].values()) == sum(dataset.subject_counts[split].values()) == len(part.labels)
        assert list(dataset.counts[split]) == list(dataset.class_names)
        for index, name in enumerate(dataset.class_names):
            assert dataset.counts[split][name] == np.count_nonzero(part.labels == index)
    assert [list(dataset.subject_counts[s]) for s in dataset.splits] == [["1", "2", "3", "4"], ["5"], ["6"]]
    assert "no two sets share a subject" in dataset.notes
    plain = [dataset.windows, dataset.counts, dataset.subject_counts, list(dataset.notes), list(dataset.marks)]
    assert json.loads(json.dumps(plain)) == plain
    values = windows_of(dataset, "train")
    covered = covered_samples(dataset.splits["train"].starts, dataset.window, len(dataset.signals))
    np.testing.assert_allclose(dataset.normalizer.shift, dataset.signals[covered].mean(axis=0), rtol=1e-3, atol=1e-4)
    assert values.shape == (dataset.windows["train"], 32, 18)


def test_the_same_config_gives_the_same_data():
    a, b = build_dataset(small()), build_dataset(small())
    assert a.fingerprint == b.fingerprint
    assert np.array_equal(a.signals, b.signals)
    other = small()
    other.synthetic.seed = 1
    assert build_dataset(other).fingerprint != a.fingerprint
    # The fingerprint is the data's: how it is divided is in the config.
    assert build_dataset(small(protocol="loso", fold=2, window=20)).fingerprint == a.fingerprint


def test_random_is_leaky_and_says_so():
    first, again = build_dataset(small(protocol="random")), build_dataset(small(protocol="random"))
    assert first.marks == ("synthetic", "leaky")
    assert any("leaky: " in note for note in first.notes)
    total = sum(first.windows.values())
    assert first.windows["test"] == round(0.2 * total)
    assert first.windows["validation"] == round(0.1 * total)
    starts = np.concatenate([part.starts for part in first.splits.values()])
    assert len(np.unique(starts)) == total
    for split in first.splits:
        assert np.array_equal(first.splits[split].starts, again.splits[split].starts)
    drawn = build_dataset(small(protocol="random", fold=1))
    assert not np.array_equal(drawn.splits["test"].starts, first.splits["test"].starts)


def test_every_subject_tests_in_one_fold():
    tested = [build_dataset(small(protocol="loso", fold=fold)).subject_counts["test"] for fold in range(6)]
    assert [list(counts) for counts in tested] == [[str(s)] for s in range(1, 7)]


def test_groups_test_everyone_once_and_the_audit_proves_it():
    tested = []
    for fold in range(3):
        data = small(protocol="groups", folds=3, fold=fold)
        data.synthetic.minutes = 4.0  # in one, not everyone does everything
        dataset = build_dataset(data)
        assert "no two sets share a subject" in dataset.notes
        tested += dataset.subject_counts["test"]
    assert sorted(tested) == [str(s) for s in range(1, 7)]


@pytest.mark.parametrize("protocol", ["subject", "loso", "groups", "random"])
def test_without_validation_its_windows_train(protocol):
    data = small(protocol=protocol, folds=3)
    data.synthetic.minutes = 4.0
    before = build_dataset(data)
    data.validation = "none"
    after = build_dataset(data)
    assert list(after.splits) == list(after.windows) == list(after.subject_counts) == ["train", "test"]
    assert "data.validation='none': the validation set of the protocol trains" in after.notes
    together = [windows_of(before, split) for split in ("train", "validation")]
    sort = lambda x: np.sort(x.reshape(len(x), -1), axis=0)  # noqa: E731
    np.testing.assert_array_equal(sort(windows_of(after, "train")), sort(np.concatenate(together)))
    np.testing.assert_array_equal(sort(windows_of(after, "test")), sort(windows_of(before, "test")))


def test_a_fold_whose_training_part_lacks_a_class_is_an_error(readers):
    recordings = random_recordings("dsads", 0)
    for r in recordings:
        if r.subject != 2:
            r.labels[r.labels == 1] = UNLABELLED
    readers(recordings)
    data = small(name="dsads", protocol="groups", folds=4, fold=1, window=5, step=5)
    message = r"data\.protocol=groups, data\.fold=1: no training window has the class walk; choose another data\.folds"
    with pytest.raises(DataError, match=message):
        build_dataset(data)
    data.fold = 2
    assert build_dataset(data).counts["train"]["walk"] > 0


def test_windows_as_arrays_are_those_of_the_recordings():
    recordings = random_recordings("dsads", 0)
    for rule in ("mode", "last", "drop_mixed", "majority"):
        x, labels, subjects = make_windows(recordings, window=7, step=3, label_rule=rule)
        assert (x.dtype, labels.dtype, subjects.dtype) == (np.float32, np.int32, np.int32)
        expected = []
        for r in recordings:
            bounds = [*r.starts.tolist(), len(r.labels)]
            if rule == "mode":
                bounds = sorted({*bounds, *(np.flatnonzero(np.diff(r.labels)) + 1).tolist()})
            for a, b in itertools.pairwise(bounds):
                for at in range(a, b - 6, 3):
                    names, counts = np.unique(r.labels[at : at + 7], return_counts=True)
                    label = names[np.argmax(counts)] if rule == "majority" else r.labels[at + 6]
                    if label != UNLABELLED and (rule != "drop_mixed" or len(names) == 1):
                        expected.append((r.signals[at : at + 7], label, r.subject))
        assert len(expected) > 50
        np.testing.assert_array_equal(x, np.stack([signals for signals, *_ in expected]))
        assert [*zip(labels.tolist(), subjects.tolist(), strict=True)] == [(label, s) for _, label, s in expected]
    with pytest.raises(DataError, match="at least one"):
        make_windows([], window=7, step=3)
    with pytest.raises(ConfigError, match=r"data\.label_rule='center'"):
        make_windows(recordings, window=7, step=3, label_rule="center")


def test_classes_channels_and_decimation():
    data = small(classes=("run", "sit"), channels=("acc", "hip_gyro_x"), decimate=2, window=16, step=8)
    dataset = build_dataset(data)
    assert dataset.class_names == ("run", "sit")
    assert dataset.signals.shape == (6 * 750, 10)
    assert dataset.rate == 12.5
    assert any("samples have none of the classes" in note for note in dataset.notes)
    whole = build_dataset(small())
    acc = [i for i, c in enumerate(whole.channels) if c.group == "acc" or c.name == "hip_gyro_x"]
    assert np.array_equal(dataset.signals, whole.signals[::2, acc])


def test_a_class_without_training_windows_is_noted():
    dataset = build_dataset(small(window=100))
    assert any("no training window has the class" in note for note in dataset.notes)


def test_an_extreme_sample_that_would_hide_all_others_is_named(readers):
    recordings = random_recordings("dsads", 0)
    readers(recordings)
    data = small(name="dsads", protocol="standard", window=5, step=5)
    build_dataset(data)
    (first,) = [r for r in recordings if r.subject == 1][:1]
    first.signals[3, 2] = -1e17
    channel = first.channels[2].name
    with pytest.raises(DataError, match=rf"channel {channel}: -1e\+17 \(subject 1, run .*, sample 3\), where 99\.9 %"):
        build_dataset(data)


def test_incomplete_data_is_marked_or_refused(readers):
    recordings = random_recordings("dsads", 0)
    data = small(name="dsads", protocol="standard", window=5, step=5)
    readers(recordings, missing=("40 of 60 segments are missing",))
    dataset = build_dataset(data)
    assert dataset.marks == ("incomplete",)
    assert "incomplete: 40 of 60 segments are missing" in dataset.notes
    data.require_complete = True
    with pytest.raises(DataError, match=r"data\.require_complete=True, and dsads is incomplete: 40 of 60 segments"):
        build_dataset(data)
    readers(recordings)
    assert build_dataset(data).marks == ()
    readers(recordings[:2], missing=("6 subjects are missing",))
    data.require_complete = False
    with pytest.raises(
        DataError, match=r"its validation set is empty: .*; the data is incomplete: 6 subjects are missing"
    ):
        build_dataset(data)


def test_no_derived_test_sample_depends_on_training_and_the_other_way_round(readers):
    recordings = random_recordings("wisdm", 0)
    data = small(name="wisdm", protocol="paper", view="derived", window=4, step=2, normalize="none")
    readers(recordings)
    before = build_dataset(data)
    for changed in before.splits:
        parts = {s: covered_samples(i.starts, 4, len(before.signals)) for s, i in before.splits.items()}
        offsets = np.cumsum([0] + [len(r.labels) for r in recordings])
        altered = [
            dataclasses.replace(r, signals=r.signals + 100 * parts[changed][a:b, None].astype(np.float32))
            for r, a, b in zip(recordings, offsets[:-1], offsets[1:], strict=True)
        ]
        readers(altered)
        after = build_dataset(data)
        for split in before.splits:
            same = np.array_equal(windows_of(before, split), windows_of(after, split))
            assert same == (split != changed)


def test_challenge_windows_from_its_rows(readers):
    # Rows as in the literature: 557,963 to train and validate on, 118,750 to test on; how many a file has is made up.
    names = [(s, run) for s in (1, 2, 3) for run in ("ADL1", "ADL2", "ADL3", "ADL4", "ADL5", "Drill")]
    testing = [name for name in names if name[0] > 1 and name[1] in ("ADL4", "ADL5")]
    rows = dict.fromkeys(names, 557_963 // 14) | dict.fromkeys(testing, 118_750 // 4)
    rows[1, "Drill"] += 557_963 % 14
    rows[2, "ADL5"] += 118_750 % 4
    rng = np.random.default_rng(0)
    recordings = [
        Recording(
            np.zeros((n, 1), np.float32) + rng.normal(),
            rng.integers(-1, 17, n).astype(np.int32),
            s,
            run,
            30.0,
            CHANNELS[:1],
        )
        for (s, run), n in rows.items()
    ]
    readers(recordings, opportunity.CLASS_NAMES)
    data = oppo_challenge.get_config().data
    dataset = build_dataset(data)
    assert dataset.class_names == ("null", *opportunity.CLASS_NAMES)
    assert dataset.windows["test"] == 9_894
    validation = 2 * (557_963 // 14)
    assert dataset.windows["validation"] == (validation - 24) // 12 + 1
    assert dataset.windows["train"] == (557_963 - validation - 24) // 12 + 1
    assert any("recordings are joined" in note and "in test" in note for note in dataset.notes)
    data.join_recordings = False
    apart = build_dataset(data)
    assert apart.windows["test"] == sum((rows[name] - 24) // 12 + 1 for name in testing)
    assert 9_889 <= apart.windows["test"] <= 9_891
    # The label is that of the last sample, null where it has none.
    labels = np.concatenate([r.labels for r in recordings if (r.subject, r.run) in testing])
    first = 24 - 1
    assert dataset.splits["test"].labels[0] == labels[first] + 1


def test_opportunity_sized_data_is_held_once(readers):
    channels = tuple(CHANNELS[0]._replace(name=f"c{i}") for i in range(113))
    labels = np.repeat(np.arange(700) % 17, 1000).astype(np.int32)
    signals = np.zeros((700_000, 113), np.float32)
    signals[:, 0] = np.random.default_rng(0).normal(size=700_000)
    recordings = [
        Recording(signals[at : at + 70_000], labels[at : at + 70_000], 1 + at // 70_000, "1", 30.0, channels)
        for at in range(0, 700_000, 70_000)
    ]
    readers(recordings, tuple("abcdefghijklmnopq"))
    tracemalloc.start()
    dataset = build_dataset(small(name="dsads", protocol="standard", label_rule="majority"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(dataset.windows.values()) > 40_000
    assert peak < 1.5 * signals.nbytes  # beside the recordings themselves, which this test keeps


def test_hapt_has_as_many_windows_as_its_publishers_state(raw_dir, readers):
    readers(hapt_reader.read(raw_dir / hapt_reader.SOURCE.folder), hapt_reader.CLASS_NAMES)
    dataset = build_dataset(hapt.get_config().data)
    assert sum(dataset.windows.values()) == 10_929
    assert list(dataset.subject_counts["test"]) == ["2", "4", "9", "10", "12", "13", "18", "20", "24"]


@pytest.fixture(scope="module")
def wisdm_recordings(raw_dir):
    return wisdm_reader.read(raw_dir / wisdm_reader.SOURCE.folder)


@pytest.mark.parametrize("protocol", ["subject", "paper", "random", "loso"])
def test_real_wisdm(wisdm_recordings, readers, protocol):
    readers(wisdm_recordings, wisdm_reader.CLASS_NAMES)
    data = wisdm.get_config().data
    data.protocol = protocol
    dataset = build_dataset(data)
    assert len({subject for counts in dataset.subject_counts.values() for subject in counts}) == 36
    assert all(dataset.counts["train"].values())
    assert ("leaky" in dataset.marks) == (protocol == "random")


def test_hapt_with_six_or_twelve_classes():
    assert hapt.get_config().data.classes == ()
    assert len(hapt.get_config("6").data.classes) == 6
    with pytest.raises(ConfigError, match="is not one of 6, 12"):
        hapt.get_config("7")


def test_wisdm_views_fit_their_branches(readers):
    recordings = [
        dataclasses.replace(r, signals=r.signals[:, :3], channels=CHANNELS[:3]) for r in random_recordings("wisdm", 0)
    ]
    readers(recordings)
    for view, channels in (("derived", 9), ("mirror", 6), ("axis", 3)):
        config = wisdm.get_config(view)
        config.data.window, config.data.step = 8, 4
        dataset = build_dataset(config.data)
        branches = partition(dataset.channels, config.model.branches, config.model.partition, config.seed)
        assert sum(len(group) for *_, group in branches) == len(dataset.channels) == channels
    with pytest.raises(ConfigError, match="is not one of derived, mirror, axis"):
        wisdm.get_config("fourier")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"protocol": "official"},
            r"data\.protocol='official' is not one of synthetic's: groups, loso, random, subject",
        ),
        ({"protocol": "loso", "fold": 6}, r"data\.fold=6 is not between 0 and 5"),
        ({"fold": 1}, r"data\.fold=1, but only loso, groups, random have folds"),
        ({"window": 0}, r"data\.window=0"),
        ({"step": -1}, r"data\.step=-1"),
        ({"window": 10**6}, r"data\.window=1000000: no window fits into the train set .* stretch has 1500 samples"),
        ({"window": 500}, r"data\.window=500: no window fits .* its longest stretch of one class \d+; choose"),
        ({"label_rule": "center"}, r"data\.label_rule='center'"),
        ({"normalize": "robust"}, r"data\.normalize='robust'"),
        ({"decimate": 0}, r"data\.decimate=0"),
        ({"view": "fourier"}, r"data\.view='fourier'"),
        ({"classes": ("walk", "fly")}, r"data\.classes: no class 'fly'"),
        ({"channels": ("emg",)}, r"data\.channels: no channel or group 'emg'"),
        ({"name": "mnist"}, r"data\.name='mnist' is not one of "),
        ({"name": "table"}, r"data\.table\.channels=\(\) must be"),
    ],
)
def test_bad_values_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        build_dataset(small(**fields))


@pytest.mark.parametrize("field", ["classes", "channels"])
def test_names_must_be_tuples(field):
    data = small()
    with data.ignore_type():
        data[field] = "walk"
    with pytest.raises(ConfigError, match=rf"data\.{field}='walk' must be a tuple, as \('walk',\)"):
        build_dataset(data)


def test_unlabelled_recordings_have_no_window(readers):
    readers([dataclasses.replace(r, labels=np.full_like(r.labels, UNLABELLED)) for r in random_recordings("dsads", 0)])
    with pytest.raises(ConfigError, match=r"no window fits .* its longest stretch of one class 0"):
        build_dataset(small(name="dsads", protocol="standard", window=5))


def test_people_without_a_window_are_named(readers):
    recordings = random_recordings("dsads", 0)
    recordings[0] = dataclasses.replace(recordings[0], labels=np.full_like(recordings[0].labels, UNLABELLED))
    readers(recordings)
    notes = build_dataset(small(name="dsads", protocol="standard", window=5)).notes
    assert [note for note in notes if "no window" in note] == ["no window of 5 labelled samples is of the subjects 1"]
    recordings.append(dataclasses.replace(recordings[0], subject=2, run="short"))
    readers(recordings)
    notes = build_dataset(small(name="dsads", protocol="standard", window=5)).notes
    assert [note for note in notes if "no window" in note][1:] == [
        "no window of 5 labelled samples is of 1 of 9 recordings: short of 2"
    ]


def test_a_left_out_class_neither_trains_nor_validates():
    whole, without = build_dataset(small()), build_dataset(small(left_out_class="walk"))
    walk = whole.class_names.index("walk")
    assert without.class_names == tuple(name for name in whole.class_names if name != "walk")
    assert without.fingerprint == whole.fingerprint
    for split, part in without.splits.items():
        kept = whole.splits[split].labels != walk
        np.testing.assert_array_equal(part.starts, whole.splits[split].starts[kept])
        names = [without.class_names[label] for label in part.labels]
        assert names == [whole.class_names[label] for label in whole.splits[split].labels[kept]]
    np.testing.assert_array_equal(
        without.unknown.starts, whole.splits["test"].starts[whole.splits["test"].labels == walk]
    )
    assert whole.unknown is None
    assert any("no window of it trains or validates" in note for note in without.notes)
    assert not np.array_equal(without.normalizer.scale, whole.normalizer.scale)


@pytest.mark.parametrize("rule", ["last", "majority", "drop_mixed"])
def test_windows_that_hold_a_sample_of_a_left_out_class_are_in_no_part(rule):
    without = build_dataset(small(left_out_class="walk", label_rule=rule))
    whole = build_dataset(small(label_rule="last", window=1, step=1))
    walk = np.zeros(len(whole.signals), bool)
    for part in whole.splits.values():
        walk[part.starts[part.labels == whole.class_names.index("walk")]] = True
    np.testing.assert_array_equal(whole.signals, without.signals)
    for part in without.splits.values():
        assert not walk[part.starts[:, None] + np.arange(32)].any()
    assert walk[without.unknown.starts[:, None] + np.arange(32)].any(axis=1).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"left_out_class": "swim"}, "data.left_out_class='swim': expected one of stand, sit"),
        ({"left_out_class": "walk", "classes": ("walk", "run")}, "and at least two others"),
    ],
)
def test_classes_that_cannot_be_left_out(fields, message):
    with pytest.raises(ConfigError, match=message):
        build_dataset(small(**fields))
