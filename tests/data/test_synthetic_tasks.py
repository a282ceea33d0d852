"""The synthetic tasks: what each modality alone can reach, measured by classifiers written out here."""

import numpy as np
import pytest

from dcdp_jax.data.datasets.synthetic import CHANNELS, CLASS_NAMES, SITES, make_recordings
from dcdp_jax.data.synthetic_tasks import CLASSES, SEGMENT, TASKS

CEILINGS = {"complementary": (0.8, 0.4, 1.0), "redundant": (1.0, 1.0, 1.0), "noise": (1.0, 0.2, 1.0)}


def windows_of(task, seed=0, subjects=200):
    """All segments (n, time, site, modality, axis) and their classes."""
    made = make_recordings(seed=seed, subjects=subjects, minutes=0.2, task=task)
    length = len(made[0].labels) // SEGMENT * SEGMENT
    x = np.concatenate([r.signals[:length] for r in made]).reshape(-1, SEGMENT, len(SITES), 2, 3)
    labels = np.concatenate([r.labels[:length] for r in made]).reshape(-1, SEGMENT)
    assert (labels == labels[:, :1]).all()
    return x, labels[:, 0]


def means(x):
    """What the accelerometers say: the mean of each channel."""
    return x[..., 0, :].mean(axis=1).reshape(len(x), -1)


def products(x):
    """What the gyroscopes say: the mean product of the x and the y axis at each site."""
    return (x[..., 1, 0] * x[..., 1, 1]).mean(axis=1)


def gyroscope_means(x):
    return x[..., 1, :].mean(axis=1).reshape(len(x), -1)


def nearest_centroid(statistics, task):
    """Accuracy on other subjects of the class whose mean is nearest, in standard deviations of each statistic."""
    (train, y), (test, z) = windows_of(task), windows_of(task, seed=1)
    a, b = (np.concatenate([s(x) for s in statistics], axis=1) for x in (train, test))
    a, b = ((x - a.mean(axis=0)) / a.std(axis=0) for x in (a, b))
    centroids = np.stack([a[y == k].mean(axis=0) for k in range(len(CLASSES))])
    return float((((b[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1) == z).mean())


@pytest.mark.parametrize("task", TASKS)
def test_each_modality_reaches_its_ceiling_and_no_more(task):
    """On 200 other people, within three standard deviations of 1.5 points: the personal shift misleads some of them."""
    found = [nearest_centroid(statistics, task) for statistics in ([means], [products], [means, products])]
    assert found == pytest.approx(CEILINGS[task], abs=0.045)


@pytest.mark.parametrize("task", TASKS)
def test_the_stated_ceilings(task):
    def ceiling(codes):  # of the classes with one code, one can be right
        return len(set(codes or (0,))) / len(CLASSES)

    codes = TASKS[task]
    both = None if codes.gyro is None else tuple(10 * a + b for a, b in zip(codes.acc, codes.gyro, strict=True))
    assert (ceiling(codes.acc), ceiling(codes.gyro), ceiling(both or codes.acc)) == CEILINGS[task]


def test_the_people_who_train_are_told_apart_by_the_accelerometers_alone():
    """By the direction that each of eight people has: a linear function of the means is right about every window."""
    x, y = windows_of("complementary", subjects=8)
    alike = np.isin(y, (3, 4))
    a = np.column_stack([means(x)[alike], np.ones(alike.sum())])
    weights, *_ = np.linalg.lstsq(a, np.where(y[alike] == 3, 1.0, -1.0), rcond=None)
    assert ((a @ weights > 0) == (y[alike] == 3)).mean() > 0.95
    others, z = windows_of("complementary", seed=1)
    unknown = np.isin(z, (3, 4))
    b = np.column_stack([means(others)[unknown], np.ones(unknown.sum())])
    assert ((b @ weights > 0) == (z[unknown] == 3)).mean() == pytest.approx(0.5, abs=0.12)


def test_no_linear_function_of_the_gyroscopes_tells_the_classes_apart():
    assert nearest_centroid([gyroscope_means], "redundant") == pytest.approx(1 / len(CLASSES), abs=0.045)


def test_recordings_are_a_function_of_the_seed_and_the_task():
    one, again = (make_recordings(seed=3, subjects=2, minutes=0.5, task="redundant") for _ in range(2))
    other = make_recordings(seed=4, subjects=2, minutes=0.5, task="redundant")
    assert (one.class_names, one[0].channels) == (CLASSES, CHANNELS)
    assert all(np.array_equal(a.signals, b.signals) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0].signals, other[0].signals)
    assert make_recordings(subjects=1, minutes=0.5).class_names == CLASS_NAMES
