"""Synthetic tasks whose answer is known: what each modality alone can reach is stated, and a test measures it.

Each window has one of five classes, drawn with equal probability. A class has a code in the accelerometers and a code
in the gyroscopes, and a branch that reads one modality can tell apart only classes of different codes there. On people
who do not train the best possible accuracies are:

| task            | accelerometers alone | gyroscopes alone | both  |
|-----------------|----------------------|------------------|-------|
| `complementary` | 80 %                 | 40 %             | 100 % |
| `redundant`     | 100 %                | 100 %            | 100 % |
| `noise`         | 100 %                | 20 %             | 100 % |

The code of the accelerometers is fast to learn: it is the mean of each channel, which is linear in the signal. The code
of the gyroscopes is slow to learn: at each site, the sign of the product of the x and the y axis, which oscillate with
a random phase, so that every linear function of the window has the same mean for all classes.

In `complementary` the two classes with the same code of the accelerometers differ there too, by a shift whose direction
is each person's own. On the people who train, the accelerometers alone are right about every window, and a fusion that
trusts them learns nothing from the gyroscopes; on anybody else the shift says nothing, and the gyroscopes alone tell
the two classes apart.
"""

from typing import NamedTuple

import numpy as np

CLASSES = ("a", "b", "c", "d", "e")
SEGMENT = 32  # samples of one draw of the class
LEVEL = 0.3  # of the accelerometers' means, in g
PERSONAL = 1.0  # length of the shift of one person, in g
WAVE = 0.4  # amplitude of the gyroscopes' oscillation in rad/s
FREQUENCIES = (1.5, 3.0)  # bounds of its frequency in Hz


class Codes(NamedTuple):
    """The code of every class in each modality; None for a modality of pure noise."""

    acc: tuple[int, ...] | None
    gyro: tuple[int, ...] | None


TASKS = {
    "complementary": Codes((0, 1, 2, 3, 3), (0, 7, 0, 0, 7)),
    "redundant": Codes((0, 1, 2, 3, 4), (0, 7, 1, 2, 4)),
    "noise": Codes((0, 1, 2, 3, 4), None),
}


def make_task(
    codes: Codes, rng: np.random.Generator, samples: int, rate: float, noise: float, sites: int
) -> tuple[np.ndarray, np.ndarray]:
    """Makes the signals of one subject, segments of `SEGMENT` samples with a class each; the last may be shorter.

    The rate is in samples per second, the noise a standard deviation in g and in rad/s.

    Returns:
      Signals (samples, 6 sites), at each site acceleration in g and rotation in rad/s, and labels (samples,).
    """
    segments = -(-samples // SEGMENT)
    classes = rng.integers(0, len(CLASSES), segments)
    acceleration, rotation = noise * rng.normal(size=(2, segments, SEGMENT, sites, 3))
    if codes.acc is not None:
        # The levels of a code are the same for all subjects.
        levels = np.random.default_rng(0).choice((-1.0, 1.0), size=(len(CLASSES), sites, 3))
        acceleration += LEVEL * levels[np.array(codes.acc)[classes]][:, None]
        if alike := [k for k, code in enumerate(codes.acc) if codes.acc.count(code) > 1]:
            direction = rng.normal(size=(sites, 3))
            direction *= PERSONAL / np.linalg.norm(direction)
            side = np.select([classes == alike[0], classes == alike[1]], [1.0, -1.0])
            acceleration += side[:, None, None, None] * direction
    if codes.gyro is not None:
        seconds = np.arange(SEGMENT)[:, None] / rate
        frequency = rng.uniform(*FREQUENCIES, size=(segments, 1, sites))
        wave = np.cos(2 * np.pi * (frequency * seconds + rng.uniform(size=(segments, 1, sites))))
        signs = 1 - 2 * (np.array(codes.gyro)[classes][:, None] >> np.arange(sites) & 1)
        rotation[..., 0] += WAVE * wave
        rotation[..., 1] += WAVE * signs[:, None] * wave
    signals = np.concatenate([acceleration, rotation], axis=-1).reshape(segments * SEGMENT, -1)
    return signals[:samples], np.repeat(classes, SEGMENT)[:samples].astype(np.int32)
