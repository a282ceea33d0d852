"""Small valid files of every data set in its publisher's layout, and larger ones of OPPORTUNITY's for the benchmark.

The first channel of every sample is its number, so that a test can say which samples it got.
"""

import io
import zipfile

import numpy as np
from scipy.io import savemat

from dcdp_jax.data.datasets import dsads, harth, mhealth, opportunity, uci_har


def lines(rows, delimiter=" "):
    return "".join(delimiter.join(row) + "\n" for row in rows)


def opportunity_rows(rng, samples, first=1000, missing=0.03, numbered=True):
    """(samples, 250) strings: milliseconds, signals with NaN here and there, labels that last."""
    values = rng.integers(-2000, 2000, (samples, 250)).astype("U8")
    nan = rng.random((samples, 250)) < missing
    nan[:, [0, 1]] = False
    values[nan] = "NaN"
    values[:, 0] = np.round(np.arange(samples) * 1000 / 30).astype(int).astype("U8")
    if numbered:
        values[:, 1] = np.arange(first, first + samples).astype("U8")
    values[:, 243:] = "0"
    for column, codes, lasts in ((243, [0, 1, 2, 4, 5], 7), (249, [0, *opportunity.GESTURES], 4)):
        drawn = rng.choice(codes, samples // lasts + 1).astype("U8")
        values[:, column] = np.repeat(drawn, lasts)[:samples]
    return values


def write_opportunity(folder, rng, sizes=None):
    folder.mkdir(parents=True, exist_ok=True)
    sizes = sizes or {"S1-ADL1": 18, "S2-Drill": 9}
    for i, (name, samples) in enumerate(sizes.items()):
        (folder / f"{name}.dat").write_text(lines(opportunity_rows(rng, samples, 1000 * (i + 1))))


def pamap2_rows(rng, samples, first=1000, codes=(0, 1, 4, 24)):
    """(samples, 54) strings: seconds, activity, heart rate now and then, three units; a lost packet now and then."""
    values = rng.normal(0, 10, (samples, 54)).round(5).astype("U10")
    for unit in range(3):
        lost = rng.random(samples) < 0.05
        columns = slice(3 + 17 * unit + (2 if unit == 0 else 0), 3 + 17 * (unit + 1))
        values[lost, columns] = "NaN"
    values[:, 0] = [f"{8.38 + i / 100:.2f}" for i in range(samples)]
    values[:, 1] = np.repeat(rng.choice(codes, samples // 5 + 1), 5)[:samples].astype("U10")
    values[:, 2] = np.where(np.arange(samples) % 11 == 3, "104", "NaN")
    values[:, 4] = np.arange(first, first + samples).astype("U10")
    return values


def write_pamap2(folder, rng):
    for i, (name, codes) in enumerate(
        {"Protocol/subject101": (0, 1, 4, 24), "Optional/subject101": (0, 9, 20)}.items()
    ):
        path = folder / f"{name}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines(pamap2_rows(rng, (24, 13)[i], 1000 * (i + 1), codes)))


def wisdm_records(samples, user=1, activity="Walking", first=1000, start=49_105_962_326_000):
    """Records without their semicolon."""
    return [
        f"{user},{activity},{start + 50_000_000 * i},{first + i},{(i * 7 % 19) - 9.25},{0.5 + i / 8}"
        for i in range(samples)
    ]


def write_wisdm(folder, rng):
    folder.mkdir(parents=True, exist_ok=True)
    records = wisdm_records(12, 33, "Jogging") + wisdm_records(9, 33, "Standing", 2000, 60_105_962_326_000)
    records += wisdm_records(11, 17, "Upstairs", 3000, 867_172_313_000)
    text = "".join(f"{record};\n" for record in records[:20])
    text += f"{records[20]};{records[21]};\n\n{records[22]},;\n"
    (folder / "WISDM_ar_v1.1_raw.txt").write_text(text + "".join(f"{record};\n" for record in records[23:]))


def write_hapt(folder, rng):
    raw = folder / "RawData"
    raw.mkdir(parents=True, exist_ok=True)
    for experiment, (user, samples) in enumerate([(1, 24), (7, 16)], 1):
        for sensor in ("acc", "gyro"):
            values = rng.normal(0, 1, (samples, 3)).round(6).astype("U12")
            if sensor == "acc":
                values[:, 0] = np.arange(1000 * experiment, 1000 * experiment + samples).astype("U12")
            (raw / f"{sensor}_exp{experiment:02d}_user{user:02d}.txt").write_text(lines(values))
    (raw / "labels.txt").write_text("1 1 5 3 9\n1 1 7 10 12\n1 1 4 15 24\n2 7 12 1 8\n2 7 1 11 14\n")


def write_dsads(folder, rng):
    for activity, subject, segments in ((1, 1, (1, 3)), (19, 8, (60,))):
        for segment in segments:
            path = folder / f"a{activity:02d}" / f"p{subject}" / f"s{segment:02d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = rng.normal(0, 1, (dsads.LINES, len(dsads.CHANNELS))).round(3).astype("U12")
            first = 10_000 * activity + dsads.LINES * segment
            values[:, 0] = np.arange(first, first + dsads.LINES).astype("U12")
            path.write_text(lines(values, ","))


def write_uci_har(folder, rng):
    for split, subjects, labels in (("train", (1, 3, 3), (5, 1, 6)), ("test", (2, 2), (4, 2))):
        signals = folder / split / "Inertial Signals"
        signals.mkdir(parents=True, exist_ok=True)
        (folder / split / f"subject_{split}.txt").write_text("".join(f"{s}\n" for s in subjects))
        (folder / split / f"y_{split}.txt").write_text("".join(f"{label}\n" for label in labels))
        for i, (_, name) in enumerate(uci_har.SIGNALS):
            values = rng.normal(0, 1, (len(labels), uci_har.WINDOW))
            if i == 0:
                first = 1000 if split == "train" else 5000
                values = np.arange(first, first + values.size).reshape(values.shape)
            text = "".join("".join(f"{v:16.7e}" for v in row) + "\n" for row in values)
            (signals / f"{name}_{split}.txt").write_text(text)


def write_mhealth(folder, rng):
    folder.mkdir(parents=True, exist_ok=True)
    for subject, samples in ((1, 12), (10, 9)):
        values = rng.normal(0, 1, (samples, mhealth.COLUMNS)).round(5).astype("U12")
        values[:, 0] = np.arange(1000 * subject, 1000 * subject + samples).astype("U12")
        values[:, mhealth.LABEL] = np.repeat(rng.integers(0, 13, 4), 3)[:samples].astype("U12")
        (folder / f"mHealth_subject{subject}.log").write_text(lines(values, "\t"))


def write_harth(folder, rng):
    """Two people; the second file has line numbers in front, and the first a gap after its ninth line."""
    folder.mkdir(parents=True, exist_ok=True)
    for subject, samples in ((6, 14), (15, 10)):
        values = rng.normal(0, 1, (samples, 6)).round(6).astype("U12")
        values[:, 0] = np.arange(1000 * subject, 1000 * subject + samples).astype("U12")
        steps = np.arange(samples) * 20 + 5000 * (np.arange(samples) >= 9) * (subject == 6)
        stamps = (np.datetime64("2019-01-12T00:00:00.000") + steps).astype("U23")
        codes = np.repeat(rng.choice(list(harth.CLASSES), 4), 4)[:samples].astype("U12")
        rows = np.concatenate([[[stamp.replace("T", " ")] for stamp in stamps], values, codes[:, None]], axis=1)
        names = ["timestamp", *(channel.name for channel in harth.CHANNELS), "label"]
        if subject == 15:
            rows = np.concatenate([np.arange(samples).astype("U12")[:, None], rows], axis=1)
            names = ["index", *names]
        (folder / f"S{subject:03d}.csv").write_text(lines([names, *rows], ","))


def write_motionsense(folder, rng):
    names = [*(f"attitude.{angle}" for angle in ("roll", "pitch", "yaw"))]
    names += [f"{sensor}.{axis}" for sensor in ("gravity", "rotationRate", "userAcceleration") for axis in "xyz"]
    for trial, subject, samples in (("dws_1", 1, 12), ("jog_16", 24, 9)):
        (folder / trial).mkdir(parents=True, exist_ok=True)
        values = rng.normal(0, 1, (samples, len(names))).round(6).astype("U12")
        values[:, names.index("userAcceleration.x")] = np.arange(1000 * subject, 1000 * subject + samples).astype("U12")
        rows = np.concatenate([np.arange(samples).astype("U12")[:, None], values], axis=1)
        (folder / trial / f"sub_{subject}.csv").write_text(lines([["", *names], *rows], ","))


def write_usc_had(folder, rng):
    for subject, name, samples in ((1, "a1t1", 12), (13, "a12t5", 9)):
        (folder / f"Subject{subject}").mkdir(parents=True, exist_ok=True)
        readings = rng.normal(0, 1, (samples, 6))
        readings[:, 0] = np.arange(1000 * subject, 1000 * subject + samples)
        content = {"title": "USC Human Motion Database", "subject": str(subject), "sensor_readings": readings}
        savemat(folder / f"Subject{subject}" / f"{name}.mat", content)


def realworld_table(rng, first, stamps):
    """A table as bytes."""
    rows = [
        [str(i), str(stamp), str(first + i), *rng.normal(0, 1, 2).round(6).astype("U12")]
        for i, stamp in enumerate(stamps)
    ]
    return lines([["id", "attr_time", "attr_x", "attr_y", "attr_z"], *rows], ",").encode()


def packed(files):
    """A zip of {name: content} as bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def write_realworld(folder, rng):
    """A walk with two positions, and a climb in two parts, each in a zip of its own; the gyroscope begins later."""
    for subject, activity, parts in ((1, "walking", 1), (4, "climbingdown", 2)):
        data = folder / f"proband{subject}" / "data"
        data.mkdir(parents=True, exist_ok=True)
        for sensor, title, late in (("acc", "acc", 0), ("gyr", "Gyroscope", 30)):
            zips = {}
            for part in range(1, parts + 1):
                middle = f"{activity}_{part}" if part > 1 else activity
                stamps = 1_435_993_000_000 + 60_000 * part + late + 20 * np.arange(12)
                tables = {
                    f"{title}_{middle}_{position}.csv": realworld_table(rng, 1000 * subject + 100 * part, stamps)
                    for position in ("chest", "waist")
                }
                zips[f"{sensor}_{middle}_csv.zip"] = packed({"readMe": b"about", **tables})
            inner = zips[f"{sensor}_{activity}_csv.zip"]
            (data / f"{sensor}_{activity}_csv.zip").write_bytes(packed(zips) if parts > 1 else inner)


WRITERS = {
    "uci_har": write_uci_har,
    "opportunity": write_opportunity,
    "pamap2": write_pamap2,
    "wisdm": write_wisdm,
    "hapt": write_hapt,
    "dsads": write_dsads,
    "mhealth": write_mhealth,
    "harth": write_harth,
    "motionsense": write_motionsense,
    "usc_had": write_usc_had,
    "realworld": write_realworld,
}


def write(name, folder, seed=0):
    """Writes the small data set into a folder and returns the folder."""
    WRITERS[name](folder, np.random.default_rng(seed))
    return folder
