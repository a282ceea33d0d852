"""Tests features of windows against computations sample by sample, written from the papers."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.classical import hydra, minirocket, quant
from dcdp_jax.models.classical.features import window_statistics


def signals(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def response(x, kernel, dilation, at):
    """Returns a dilated convolution of (t,) with nine taps at one sample; zero outside."""
    places = [at + (tap - 4) * dilation for tap in range(9)]
    return sum(w * x[place] for w, place in zip(kernel, places, strict=True) if 0 <= place < len(x))


def test_statistics_of_a_window():
    x = np.array([[[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0]]])
    mean, deviation, low, first, middle, third, high, step = window_statistics(x).reshape(8, 2).T[0]
    assert [mean, low, first, middle, third, high, step] == [2, 0, 1, 2, 3, 4, 1]
    assert deviation == pytest.approx(np.sqrt(2))
    np.testing.assert_array_equal(window_statistics(x).reshape(8, 2).T[1], [5, 0, 5, 5, 5, 5, 5, 0])


def test_minirocket_on_one_channel():
    """With one channel and one training window, nothing is drawn at random. 17 samples have the dilations 1 and 2."""
    x, t = signals(2, 17, 1), 17
    made = minirocket.make_features(x[:1], 0)(x)
    assert made.shape == (2, 84 * 119)
    assert made.dtype == np.float32
    dilations = [int(2 ** (step / 31)) for step in range(32)]
    counts = {d: int(dilations.count(d) * 119 / 32) for d in (1, 2)}
    counts[1] += 119 - sum(counts.values())
    quantile = (np.arange(1, 84 * 119 + 1) * (1 + np.sqrt(5)) / 2) % 1
    expected, number = np.zeros_like(made), 0
    for place, d in enumerate((1, 2)):
        for kernel, twos in enumerate(itertools.combinations(range(9), 3)):
            weights = [2 if tap in twos else -1 for tap in range(9)]
            y = np.array([[response(window[:, 0], weights, d, at) for at in range(t)] for window in x])
            counted = y if (place + kernel) % 2 == 0 else y[:, 4 * d : t - 4 * d]
            thresholds = np.quantile(y[0], quantile[number:][: counts[d]])
            expected[:, number:][:, : counts[d]] = (counted[..., None] > thresholds).mean(axis=1)
            number += counts[d]
    assert number == 84 * 119
    # A response that equals its threshold up to rounding is on either side of it.
    assert (np.abs(made - expected) > 1e-6).mean() < 1e-3
    np.testing.assert_allclose(made, expected, atol=1 / (t - 16) + 1e-6)


def test_minirocket_sums_the_channels_that_a_kernel_reads():
    x = signals(2, 20, 3)
    reads = minirocket.choose_channels(3, np.random.default_rng(0))
    weights = (minirocket.KERNELS.T[:, None] * reads.T).reshape(27, 84).astype(np.float32)
    made = np.asarray(minirocket.convolve(jnp.asarray(x), jnp.asarray(weights), 2))
    for kernel, at in itertools.product((0, 50, 83), (0, 9, 19)):
        summed = x[1][:, reads[kernel]].sum(axis=1)
        assert made[1, at, kernel] == pytest.approx(response(summed, minirocket.KERNELS[kernel], 2, at), abs=1e-4)
    assert set(reads.sum(axis=1)) == {1, 2, 3}


@pytest.mark.parametrize("channels", [1, 30])
def test_minirocket_reads_one_to_nine_channels(channels):
    counts = minirocket.choose_channels(channels, np.random.default_rng(0)).sum(axis=1)
    assert counts.min() == 1
    assert counts.max() <= min(channels, 9)


def test_minirocket_has_as_many_thresholds_as_asked():
    for window in (9, 17, 128, 500):
        chosen = minirocket.choose_dilations(window, 119)
        assert sum(count for _, count in chosen) == 119
        assert 8 * max(dilation for dilation, _ in chosen) <= window - 1


def test_hydra():
    """Dilations of 17 samples: 1 and 2. The kernels are drawn again in the order in which they are documented."""
    x = signals(2, 17, 5)
    made = hydra.make_features(x, 3)(x)
    assert made.shape == (2, 2 * 1024)
    rng = np.random.default_rng(3)
    for dilation, differences in itertools.product((1, 2), (False, True)):
        kernels = rng.normal(size=(32, 9, 8)).astype(np.float32)
        reads = rng.integers(5, size=(32, 2))
        begin = 1024 * (dilation - 1) + 512 * differences
        largest, smallest = made[1, begin:][:512].reshape(2, 32, 8)
        for group in (0, 31):
            centred = kernels[group] - kernels[group].mean(axis=0)
            normed = centred / np.abs(centred).sum(axis=0)
            read = x[1][:, reads[group][0]] + x[1][:, reads[group][1]]
            read = np.diff(read) if differences else read
            high, low = np.zeros(8), np.zeros(8)
            for at in range(len(read)):
                responses = [response(read, normed[:, kernel], dilation, at) for kernel in range(8)]
                high[np.argmax(responses)] += max(responses)
                low[np.argmin(responses)] += 1
            np.testing.assert_allclose(largest[group], high, atol=1e-4)
            np.testing.assert_array_equal(smallest[group], low)


def test_quant():
    """The features of one channel, interval by interval with NumPy's quantiles."""
    x = signals(3, 24, 2)
    made = quant.quant_features(x)
    assert made.dtype == np.float32
    expected = []
    for representation in range(4):
        for channel in range(2):
            series = x[1, :, channel].astype(np.float64)
            step = np.diff(series)
            padded = np.concatenate([[step[0]] * 2, step, [step[-1]] * 2])
            smooth = np.array([padded[at : at + 5].mean() for at in range(len(step))])
            amplitude = np.abs([np.sum(series * np.exp(-2j * np.pi * f * np.arange(24) / 24)) for f in range(13)])
            z = (series, smooth, np.diff(step), amplitude)[representation]
            for begin, end in quant.intervals(len(z)):
                piece = z[begin:end]
                count = 1 + (len(piece) - 1) // 4
                for number in range(count):
                    level = number / (count - 1) if count > 1 else 0.5
                    expected.append(np.quantile(piece, level) - (number % 2) * piece.mean())
    np.testing.assert_allclose(np.sort(made[1]), np.sort(expected), atol=1e-4)


def test_intervals_of_quant():
    found = quant.intervals(24)
    assert found[:4] == [(0, 24), (0, 12), (12, 24), (6, 18)]
    assert [interval for interval in found if interval[1] - interval[0] == 6] == [
        *((0, 6), (6, 12), (12, 18), (18, 24)),
        *((3, 9), (9, 15), (15, 21)),
    ]
    assert len(quant.intervals(128)) == 1 + 3 + 7 + 15 + 31 + 63
