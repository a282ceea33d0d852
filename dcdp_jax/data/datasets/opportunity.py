"""OPPORTUNITY: 4 subjects in a kitchen, body-worn sensors, 30 Hz, 17 gestures and 4 modes of locomotion.

Roggen et al. 2010, Chavarriaga et al. 2013. 24 files of 250 columns separated by blanks: milliseconds, 242 signals, 7
tracks of labels. Read are the 113 channels of the challenge, in the publisher's units, under the publisher's names.

Missing values are a literal NaN: linear between their neighbours within the file, the last value held at its end, 0 at
its beginning and in a channel without any value. Every sample of this data set was annotated, so an unlabelled sample
is the publisher's null class. A step in time of more than one and a half samples, or backwards, begins a new stretch.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.completeness import find_data_files, gather, missing_names, shortage
from dcdp_jax.data.download import Source
from dcdp_jax.data.protocols import COMMON, Choice, Divide, Protocol, assign, listed
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec, Task
from dcdp_jax.data.text import codes_to_labels, fill_missing, read_columns, stretch_starts
from dcdp_jax.errors import DataError

RATE = 30.0
COLUMNS = 250
TIME, LOCOMOTION, GESTURE = 0, 243, 249
GESTURES = {
    406516: "open_door_1",
    406517: "open_door_2",
    404516: "close_door_1",
    404517: "close_door_2",
    406520: "open_fridge",
    404520: "close_fridge",
    406505: "open_dishwasher",
    404505: "close_dishwasher",
    406519: "open_drawer_1",
    404519: "close_drawer_1",
    406511: "open_drawer_2",
    404511: "close_drawer_2",
    406508: "open_drawer_3",
    404508: "close_drawer_3",
    408512: "clean_table",
    407521: "drink_from_cup",
    405506: "toggle_switch",
}
LOCOMOTIONS = {1: "stand", 2: "walk", 4: "sit", 5: "lie"}
CLASS_NAMES = tuple(GESTURES.values())
LOCOMOTION_NAMES = tuple(LOCOMOTIONS.values())
NULL = "null"  # every sample was annotated, so that those without a gesture are a class of their own
BLUETOOTH_SITES = ("RKN^", "HIP", "LUA^", "RUA_", "LH", "BACK", "RKN_", "RWR", "RUA^", "LUA_", "LWR", "RH")
UNIT_SITES = ("BACK", "RUA", "RLA", "LUA", "LLA")
# An inertial measurement unit has 13 columns, of which the last four, a quaternion, are not in the challenge.
UNIT_SIGNALS = (("acc", "acc", "mg"), ("gyro", "gyro", "unknown"), ("magnetic", "mag", "unknown"))
SHOE_SIGNALS = (
    ("Eu", "orientation", "deg"),
    ("Nav_A", "acc", "mg"),
    ("Body_A", "acc", "mg"),
    ("AngVelBodyFrame", "gyro", "mm/s"),
    ("AngVelNavFrame", "gyro", "mm/s"),
)


def challenge_channels() -> dict[int, Channel]:
    """Returns {column from 0: channel} of the challenge; names are <device>_<publisher's signal>."""
    channels = {}
    for i, site in enumerate(BLUETOOTH_SITES):
        for j, axis in enumerate("XYZ"):
            channels[1 + 3 * i + j] = Channel(f"{site}_acc{axis}", "acc", site, "mg")
    for i, site in enumerate(UNIT_SITES):
        for j, (signal, group, unit) in enumerate(UNIT_SIGNALS):
            for k, axis in enumerate("XYZ"):
                name = f"IMU_{site}_{signal}{axis}"
                channels[37 + 13 * i + 3 * j + k] = Channel(name, group, f"IMU_{site}", unit)
    for i, site in enumerate(("L-SHOE", "R-SHOE")):
        for j, (signal, group, unit) in enumerate(SHOE_SIGNALS):
            for k, axis in enumerate("xyz" if signal.endswith("_A") else "XYZ"):
                channels[102 + 16 * i + 3 * j + k] = Channel(f"{site}_{signal}{axis}", group, site, unit)
        channels[117 + 16 * i] = Channel(f"{site}_Compass", "orientation", site, "deg")
    return dict(sorted(channels.items()))


CHANNEL_COLUMNS = tuple(challenge_channels())
CHANNELS = tuple(challenge_channels().values())
SOURCE = Source(
    dataset="opportunity",
    folder="OpportunityUCIDataset/dataset",
    pattern="S[1-4]-*.dat",
    alternative="OpportunityUCIDataset.zip",
    url="https://archive.ics.uci.edu/static/public/226/opportunity+activity+recognition.zip",
    size=306_637_000,
    unpacked_limit=3 << 30,
)
# Size in bytes and SHA-256 of the data files as the publisher ships them.
PUBLISHED = {
    "S1-ADL1.dat": (51_803_164, "2b247432acbe4d3970f052c1e3e7ff8d2fc98ba5c49f95e2a0d63a32c553aab8"),
    "S1-ADL2.dat": (32_761_206, "cb7951936acb4637e27b3c8c95480341354a93ba90a5cce232526279d2f127ba"),
    "S1-ADL3.dat": (33_899_243, "118378e10af6bf042a65f7d14234993b9e1229ef12b4dc75afff1a79760f7132"),
    "S1-ADL4.dat": (34_242_592, "283cf48e4114b4fb05a7def13c29b5497a0e02947ca5855d831fc68b72eec1c8"),
    "S1-ADL5.dat": (30_729_238, "8519f3a4c09ee10c67215aef53520152355ddadf0d70b5b708998478b0c53a1c"),
    "S1-Drill.dat": (56_321_443, "26b5e4d9f40243cc64471592bf86a5a282b0bde864b1efcdd5699d5a7f00bf42"),
    "S2-ADL1.dat": (43_165_447, "38d76a30b49b6fff3dcc77cec676a19de5c252ed14c10b7400b4666997fa7f1f"),
    "S2-ADL2.dat": (30_710_584, "b30f15e8a1927cd19427e2b1028bc787df06810466fd548523fc6a11e2d01aed"),
    "S2-ADL3.dat": (34_808_274, "64eca28aa6cefc38e6362510f95d2a770d3a4e6c8b2326fd6608d7c10707240e"),
    "S2-ADL4.dat": (33_124_185, "25cd0d6eb7e0fd9a9786d213ffdac131f06a5279e24d78ff50b1621a3fa205d1"),
    "S2-ADL5.dat": (32_398_053, "2300842180e2640aa9512d602c0a7ba6ee1a4ef1999889b34bceb110dc5c5c0d"),
    "S2-Drill.dat": (54_381_079, "98e7ed170e860457198fd1346f4b284d7ae5983e5de78d3924273ec47fa8e78f"),
    "S3-ADL1.dat": (37_810_795, "1b15fc4766ba9a79f8ec97c15bb4cb128e7a2fd2c08f8dcb60dec65ca543e699"),
    "S3-ADL2.dat": (28_329_759, "a61b0418486f07114719d30ea6bf119e530f233d36d8eee7da542946b0358f4a"),
    "S3-ADL3.dat": (27_222_179, "ad976087c3c428f75d5a83df82640935323b3923eb8256466c99e7d2c556590a"),
    "S3-ADL4.dat": (27_972_830, "e2502620983c38ecb78b21ca232516decc64753ad476ea242d3cbebcba20e637"),
    "S3-ADL5.dat": (27_048_082, "8c66c65e561c4b2a8fb36d40cbca36cee246d6fad6072b097fcb3ee0ed8620fa"),
    "S3-Drill.dat": (72_116_889, "3f5c13d4e52ea96f218040480e68bdf279818e7ea99d7dba7a78c12f2e21f7f1"),
    "S4-ADL1.dat": (42_129_019, "9a9a6fedd1889f9210ff3ecc0d9ee9da602bd11a3a86f629ac06273a9b8bb98a"),
    "S4-ADL2.dat": (28_272_896, "022be538306b443096667f37909d2a4a6f69222ddd2381a63160efc6ef146a04"),
    "S4-ADL3.dat": (26_254_876, "f81f5d19cf3f76e531e2af5aab2333f6a776d82202869c740ee7791c1095fd7f"),
    "S4-ADL4.dat": (22_661_204, "d2f5bd0e2f770ef8cbc0e1b11cab1ea9fe537d1bef3586dc92c395fd47b1426d"),
    "S4-ADL5.dat": (31_116_303, "1ace7199f8a5285691a58326ded0a2932ea56d8f43da537ff23db0ad359e7ef6"),
    "S4-Drill.dat": (46_154_259, "9076c861d9b5ad94345abf61659064f8e7b94e73d29518ab30e156a30555a3bd"),
}
# Rows of the challenge's files as the literature counts them: subjects 1 to 3, for training and for testing.
CHALLENGE_ROWS = {
    "training": (
        {(1, f"ADL{i}") for i in range(1, 6)}
        | {(s, run) for s in (2, 3) for run in ("ADL1", "ADL2", "ADL3")}
        | {(s, "Drill") for s in (1, 2, 3)},
        557_963,
    ),
    "test": ({(s, run) for s in (2, 3) for run in ("ADL4", "ADL5")}, 118_750),
}


def read(folder: Path) -> Recordings:
    """Returns one recording per file, in order of subject and run; its run is ADL1 to ADL5 or Drill.

    Labels are gestures; the track `locomotion` has classes of its own, `LOCOMOTION_NAMES`.
    """
    files = {}
    for path in find_data_files(folder, SOURCE.pattern):
        match = re.fullmatch(r"S([1-4])-(ADL[1-5]|Drill)\.dat", path.name)
        if match is None:
            raise DataError(f"{path}: expected files named S1-ADL1.dat to S4-ADL5.dat and S1-Drill.dat to S4-Drill.dat")
        files[path.name] = read_file(path, int(match[1]), match[2])
    return gather(folder, files, CLASS_NAMES, PUBLISHED, shortfall)


def read_file(path: Path, subject: int, run: str) -> tuple[Recording, np.ndarray]:
    """Reads one recording; returns it and the (c,) number of missing values of each channel."""
    signals, exact = read_columns(path, COLUMNS, CHANNEL_COLUMNS, (TIME, LOCOMOTION, GESTURE), missing=True)
    time, locomotion, gesture = exact.T
    missing = fill_missing(signals, leading="zero")
    recording = Recording(
        signals=signals,
        labels=codes_to_labels(path, gesture, class_index(GESTURES)),
        subject=subject,
        run=run,
        rate=RATE,
        channels=CHANNELS,
        starts=stretch_starts(path, time, 1.5 * 1000 / RATE),
        tracks={"locomotion": codes_to_labels(path, locomotion, class_index(LOCOMOTIONS))},
    )
    return recording, missing


def class_index(codes: dict[int, str]) -> dict[int, int]:
    """Returns {publisher's code: class index}; code 0 is null."""
    return {0: UNLABELLED} | {code: index for index, code in enumerate(codes)}


def shortfall(recordings: Sequence[Recording]) -> list[str]:
    """Returns how these recordings fall short of the published ones, one sentence each."""
    present = {(r.subject, r.run): len(r.labels) for r in recordings}
    names = [f"S{subject}-{run}.dat" for subject, run in present]
    rows = []
    for part, (files, published) in CHALLENGE_ROWS.items():
        if files <= set(present):
            rows += shortage(f"rows of the challenge's {part} files", sum(present[f] for f in files), published)
    return missing_names("files", names, list(PUBLISHED)) + rows


def read_one(path: Path) -> list[Recording] | None:
    """Reads the recording of one file."""
    match = re.search(r"/S([1-4])-(ADL[1-5]|Drill)\.dat$", path.absolute().as_posix())
    return [read_file(path, int(match[1]), match[2])[0]] if match else None


def by_runs(name: str) -> Divide:
    """Returns the division of the OPPORTUNITY challenge: S2 and S3 test on ADL4 and ADL5 and validate on ADL3."""

    def divide_by_runs(recordings: Sequence[Recording], choice: Choice) -> Protocol:
        def split_of(r: Recording) -> str | None:
            if r.subject not in (1, 2, 3):
                return None
            if r.subject == 1:
                return "train"
            return {"ADL3": "validation", "ADL4": "test", "ADL5": "test"}.get(r.run, "train")

        notes = ["as in the challenge, subject 4 is left out and S2 and S3 validate on ADL3"]
        if name == "paper":
            notes.append("the paper names no validation set: this one is the challenge's")
        protocol = assign(name, recordings, split_of, by_subject=False, notes=notes)
        needs = {
            "train": "S1, or S2 and S3 Drill, ADL1, ADL2",
            "validation": "S2 or S3 ADL3",
            "test": "S2 or S3 ADL4, ADL5",
        }
        for split, intervals in protocol.intervals.items():
            if not intervals:
                present = sorted({f"S{r.subject}-{r.run}" for r in recordings})
                raise DataError(
                    f"data.protocol={name}: its {split} set is empty: it needs {needs[split]}, and the data here has "
                    f"{listed(present)}; add the missing files or choose another protocol"
                )
        return protocol

    return divide_by_runs


DATASET = DatasetSpec(
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    source=SOURCE,
    read=read,
    read_one=read_one,
    example="S1-ADL1.dat",
    protocols={**{name: by_runs(name) for name in ("paper", "challenge", "locomotion")}, **COMMON},
    tasks={
        "": Task("", CLASS_NAMES, NULL, CLASS_NAMES),
        "challenge": Task("", CLASS_NAMES, NULL, (NULL, *CLASS_NAMES)),
        "locomotion": Task("locomotion", LOCOMOTION_NAMES, NULL, LOCOMOTION_NAMES),
    },
)
