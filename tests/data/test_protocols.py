"""Who trains, validates and tests, protocol by protocol, and what is said where the data at hand does not suffice."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.data.datasets import DATASETS, uci_har
from dcdp_jax.data.parts import train_on_validation
from dcdp_jax.data.protocols import NO_CHOICE, SPLITS, Choice
from dcdp_jax.data.recording import UNLABELLED, Recording, Recordings
from dcdp_jax.errors import ConfigError, DataError
from tests.data.making import ADLS, CHANNELS, EVERY, RATE, random_recordings

# The protocols of each data set.
WANTED = {
    "opportunity": {"paper", "challenge", "locomotion", "loso", "groups", "random"},
    "pamap2": {"paper", "standard", "loso", "groups", "random"},
    "wisdm": {"paper", "subject", "loso", "groups", "random"},
    "uci_har": {"official", "loso", "groups", "random"},
    "hapt": {"official", "loso", "groups", "random"},
    "dsads": {"standard", "loso", "groups", "random"},
    "mhealth": {"standard", "loso", "groups", "random"},
    "harth": {"loso", "groups", "random"},
    "motionsense": {"loso", "groups", "random"},
    "usc_had": {"standard", "loso", "groups", "random"},
    "realworld": {"loso", "groups", "random"},
    "synthetic": {"subject", "loso", "groups", "random"},
    "table": {"subject", "recording", "loso", "groups", "random"},
}


def subjects(recordings, protocol):
    return {split: {recordings[i].subject for i, *_ in parts} for split, parts in protocol.intervals.items()}


def divide(dataset, name, recordings, choice=NO_CHOICE):
    if not isinstance(recordings, Recordings):
        recordings = Recordings(list(recordings), ())
    return DATASETS[dataset].divide(name, recordings, choice)


def test_every_data_set_has_its_protocols():
    assert {name: set(spec.protocols) for name, spec in DATASETS.items()} == WANTED


@pytest.mark.parametrize(
    ("dataset", "name", "validation", "test"),
    [
        ("pamap2", "paper", {106}, {105}),
        ("pamap2", "standard", {105}, {106}),
        ("wisdm", "subject", set(range(27, 31)), set(range(31, 37))),
        ("uci_har", "official", {7, 22}, {2, 4, 9, 10, 12, 13, 18, 20, 24}),
        ("hapt", "official", {7, 22}, {2, 4, 9, 10, 12, 13, 18, 20, 24}),
        ("dsads", "standard", {7}, {8}),
        ("synthetic", "subject", {7, 8}, {9, 10}),
        ("table", "subject", {4}, {5}),
    ],
)
def test_fixed_subjects(dataset, name, validation, test):
    recordings = random_recordings(dataset, 0)
    protocol = divide(dataset, name, recordings)
    everyone = {r.subject for r in recordings}
    assert subjects(recordings, protocol) == {
        "train": everyone - validation - test,
        "validation": validation,
        "test": test,
    }
    assert protocol.by_subject
    for parts in protocol.intervals.values():
        assert all((start, stop) == (0, len(recordings[i].labels)) for i, start, stop in parts)


@pytest.mark.parametrize("name", ["paper", "challenge", "locomotion"])
def test_opportunity_by_runs(name):
    recordings = random_recordings("opportunity", 0)
    protocol = divide("opportunity", name, recordings)
    found = {s: {(recordings[i].subject, recordings[i].run) for i, *_ in p} for s, p in protocol.intervals.items()}
    assert found == {
        "train": {(1, run) for run in ADLS} | {(s, run) for s in (2, 3) for run in ("Drill", "ADL1", "ADL2")},
        "validation": {(2, "ADL3"), (3, "ADL3")},
        "test": {(2, "ADL4"), (2, "ADL5"), (3, "ADL4"), (3, "ADL5")},
    }
    assert any("subject 4 is left out" in note for note in protocol.notes)
    assert any("names no validation set" in note for note in protocol.notes) == (name == "paper")


@pytest.mark.parametrize("dataset", [dataset for dataset, known in WANTED.items() if "loso" in known])
def test_every_subject_tests_in_exactly_one_fold(dataset):
    recordings = random_recordings(dataset, 0)
    everyone = sorted({r.subject for r in recordings} - ({109} if dataset == "pamap2" else set()))
    tested = []
    for fold in range(len(everyone)):
        parts = subjects(recordings, divide(dataset, "loso", recordings, Choice(fold)))
        tested += parts["test"]
        assert len(parts["validation"]) == max(len(everyone) // 10, 1)
        assert sorted([*parts["train"], *parts["validation"], *parts["test"]]) == everyone
    assert tested == everyone
    with pytest.raises(ConfigError, match=rf"data\.fold={len(everyone)} is not between 0 and {len(everyone) - 1}"):
        divide(dataset, "loso", recordings, Choice(len(everyone)))


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_wisdm_paper_divides_every_class_of_every_user_in_time(seed):
    recordings = random_recordings("wisdm", seed)[:4]
    # A user with two recordings, and one who lacks a class.
    recordings[1] = dataclasses.replace(recordings[1], subject=recordings[0].subject)
    recordings[2].labels[recordings[2].labels == 1] = UNLABELLED
    protocol = divide("wisdm", "paper", recordings)
    for user in {r.subject for r in recordings}:
        own = [i for i, r in enumerate(recordings) if r.subject == user]
        for label in range(3):
            order = {}
            for i in own:
                for sample in np.flatnonzero(recordings[i].labels == label):
                    order[i, int(sample)] = len(order)
            ranks = {split: [] for split in SPLITS}
            for split, parts in protocol.intervals.items():
                for i, start, stop in parts:
                    inside = set(recordings[i].labels[start:stop].tolist())
                    assert len(inside) == 1
                    if i in own and inside == {label}:
                        ranks[split] += [order[i, sample] for sample in range(start, stop)]
            together = ranks["train"] + ranks["validation"] + ranks["test"]
            assert together == list(range(len(order)))
            assert len(ranks["test"]) == len(order) - round(0.8 * len(order))
            assert len(ranks["train"]) == round(0.9 * round(0.8 * len(order)))


def test_random_gives_all_to_all_and_says_so():
    for dataset in WANTED:
        recordings = random_recordings(dataset, 0)
        protocol = divide(dataset, "random", recordings, Choice(3))
        assert protocol.leaky
        assert not protocol.by_subject
        assert all(len(parts) == len(recordings) for parts in protocol.intervals.values())


def test_own_subjects_and_recordings_by_name():
    recordings = random_recordings("table", 0)
    protocol = divide("table", "subject", recordings, Choice(test=(1, 3), validation=(5,)))
    assert subjects(recordings, protocol) == {"train": {2, 4}, "validation": {5}, "test": {1, 3}}
    protocol = divide("table", "subject", recordings, Choice(test=(1,)))
    assert subjects(recordings, protocol)["validation"] == {5}
    protocol = divide("table", "subject", recordings, Choice(validation=(5,)))
    assert subjects(recordings, protocol) == {"train": {1, 2, 3}, "validation": {5}, "test": {4}}
    protocol = divide("table", "recording", recordings, Choice(test=("2a",), validation=("2b", "1a")))
    runs = {split: {recordings[i].run for i, *_ in parts} for split, parts in protocol.intervals.items()}
    assert runs["test"] == {"2a"}
    assert runs["validation"] == {"2b", "1a"}
    assert runs["train"] == {"1b", *(f"{s}{x}" for s in (3, 4, 5) for x in "ab")}
    protocol = divide("table", "recording", recordings)
    assert [recordings[i].run for i, *_ in protocol.intervals["test"]] == ["5a", "5b"]
    assert [recordings[i].run for i, *_ in protocol.intervals["validation"]] == ["4a", "4b"]


@pytest.mark.parametrize(
    ("protocol", "choice", "message"),
    [
        (
            "official",
            Choice(),
            r"data\.protocol='official' is not one of table's: groups, loso, random, recording, subject",
        ),
        ("subject", Choice(1), r"data\.fold=1, but only loso, groups, random have folds"),
        ("random", Choice(-1), r"data\.fold=-1"),
        ("loso", Choice(-1), r"data\.fold=-1"),
        ("subject", Choice(test=(9,)), r"data\.table\.test: no subject 9; there are 1, 2, 3, 4, 5"),
        ("recording", Choice(validation=("x",)), r"data\.table\.validation: no recording 'x'; there are 1a, 1b"),
        ("subject", Choice(test=(1,), validation=(1,)), "subject 1 stands in both test and validation"),
        ("subject", Choice(test=(1, 2, 3, 4), validation=(5,)), "needs three subjects at least"),
        ("subject", Choice(test=(1, 2, 3, 4, 5)), "needs three subjects at least"),
    ],
)
def test_bad_choices_are_named(protocol, choice, message):
    with pytest.raises((ConfigError, DataError), match=message):
        divide("table", protocol, random_recordings("table", 0), choice)


def test_a_subject_is_called_by_its_name():
    recordings = random_recordings("table", 0)
    people = {r.subject: f"person {r.subject}" for r in recordings}
    with pytest.raises(ConfigError, match="subject person 2 stands in both test and validation"):
        divide("table", "subject", Recordings(recordings, (), people), Choice(test=(2,), validation=(2,)))


@pytest.mark.parametrize(
    ("dataset", "protocol", "keep", "message"),
    [
        (
            "pamap2",
            "paper",
            {109},
            "its validation set is empty: it needs a subject of 106, and the data here has 109",
        ),
        ("pamap2", "standard", {101, 105}, "its test set is empty: it needs a subject of 106, .* has 101, 105"),
        ("dsads", "standard", {7, 8}, "its train set is empty: it needs a subject that neither validates nor tests"),
        ("pamap2", "loso", {101, 102, 109}, "needs three subjects at least, .* has 101, 102 without 109"),
        ("pamap2", "loso", {109}, "the data here has none without 109"),
        ("opportunity", "challenge", {1}, "its validation set is empty: it needs S2 or S3 ADL3, .* has S1-ADL1"),
        ("opportunity", "paper", {4}, "its train set is empty: it needs S1, or S2 and S3 Drill, ADL1, ADL2"),
        ("table", "subject", {1, 2}, "needs three subjects at least, .* has 1, 2"),
        ("table", "recording", {1}, "needs three recordings at least, .* has 1a, 1b"),
    ],
)
def test_an_empty_part_is_named(dataset, protocol, keep, message):
    recordings = [r for r in random_recordings(dataset, 0) if r.subject in keep]
    with pytest.raises(DataError, match=rf"data\.protocol={protocol}.*{message}"):
        divide(dataset, protocol, recordings)


def test_people_are_called_by_their_names():
    recordings = Recordings(random_recordings("table", 0)[:4], ("a", "b", "c"), {1: "ann", 2: "bob"})
    with pytest.raises(DataError, match=r"needs three subjects at least, .* has ann, bob"):
        divide("table", "subject", recordings)


def test_subjects_that_are_missing_are_noted():
    recordings = [r for r in random_recordings("hapt", 0) if r.subject not in (4, 22)]
    notes = divide("hapt", "official", recordings).notes
    assert any("subjects 4, 22 of the protocol are not in the data" in note for note in notes)


def test_no_interval_leaves_its_recording():
    for dataset, name in EVERY:
        recordings = random_recordings(dataset, 1)
        for parts in divide(dataset, name, recordings, Choice(folds=3)).intervals.values():
            assert parts
            assert all(0 <= start < stop <= len(recordings[i].labels) for i, start, stop in parts)


def test_official_subjects_are_the_publishers(raw_dir):
    recordings = uci_har.read(raw_dir / "UCI HAR Dataset")
    assert tuple(sorted({r.subject for r in recordings if r.run == "test"})) == uci_har.TEST_SUBJECTS
    assert len({r.subject for r in recordings if r.run == "train"}) == 21


def test_wisdm_paper_of_one_long_recording_is_fast():
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 3, 2000), 500).astype(np.int32)
    recording = Recording(np.zeros((len(labels), 4), np.float32), labels, 1, "1", RATE, CHANNELS)
    assert len(divide("wisdm", "paper", [recording]).intervals["train"]) < 2000


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("folds", [3, 4, 10])
def test_groups_are_disjoint_and_test_everyone_once(dataset, folds):
    recordings = random_recordings(dataset, 0)
    everyone = sorted({r.subject for r in recordings} - ({109} if dataset == "pamap2" else set()))
    if len(everyone) < folds:
        message = (
            rf"data\.folds={folds} is not between 3 and the number of subjects: the data here has {len(everyone)} "
        )
        with pytest.raises(ConfigError, match=message):
            divide(dataset, "groups", recordings, Choice(0, folds))
        return
    tested, validated = [], []
    for fold in range(folds):
        protocol = divide(dataset, "groups", recordings, Choice(fold, folds))
        assert protocol.by_subject
        parts = subjects(recordings, protocol)
        assert sorted([*parts["train"], *parts["validation"], *parts["test"]]) == everyone
        assert {len(parts["test"]), len(parts["validation"])} <= {len(everyone) // folds, -(-len(everyone) // folds)}
        tested.append(parts["test"])
        validated.append(parts["validation"])
    assert sorted(subject for group in tested for subject in group) == everyone
    assert validated == [*tested[1:], tested[0]]
    with pytest.raises(ConfigError, match=rf"data\.fold={folds} is not between 0 and data\.folds - 1 = {folds - 1}"):
        divide(dataset, "groups", recordings, Choice(folds, folds))


@pytest.mark.parametrize(("dataset", "name"), EVERY)
def test_without_validation_its_part_trains(dataset, name):
    recordings = random_recordings(dataset, 0)
    protocol = divide(dataset, name, recordings, Choice(folds=3))
    changed = train_on_validation(protocol)
    assert list(changed.intervals) == ["train", "test"]
    assert changed.intervals["test"] == protocol.intervals["test"]
    covered = [np.zeros(len(r.labels), int) for r in recordings]
    for i, start, stop in changed.intervals["train"]:
        covered[i][start:stop] += 1
    expected = [np.zeros(len(r.labels), int) for r in recordings]
    for i, start, stop in [*protocol.intervals["train"], *([] if protocol.leaky else protocol.intervals["validation"])]:
        expected[i][start:stop] += 1
    assert all(np.array_equal(a, b) for a, b in zip(covered, expected, strict=True))
    ends = {(i, stop) for i, _, stop in changed.intervals["train"]}
    assert not ends & {(i, start) for i, start, _ in changed.intervals["train"]}
