"""Files of a made-up finished run, beyond those that every run has."""

import csv
import json

import numpy as np

CHANNELS = [("acc_x", "acc"), ("acc_y", "acc"), ("acc_z", "acc"), ("gyro_x", "gyro")]


def write_predictions(workdir, rng, subjects=("106", "107", "108")):
    """predictions.csv that fits the confusion matrix of result.json, and its rows."""
    result = json.loads((workdir / "result.json").read_text())
    names = result["class_names"]
    rows = []
    for i, counts in enumerate(result["confusion"]):
        for j, count in enumerate(counts):
            for _ in range(count):
                confidence = float(np.float32(rng.uniform(0.4, 1.0)))
                rows.append(
                    ["run1", len(rows) * 64, str(rng.choice(subjects)), names[i], names[j], f"{confidence:.9g}"]
                )
    with (workdir / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["recording", "start", "subject", "true", "predicted", "confidence"])
        table.writerows(rows)
    return rows


def write_worst(workdir, rng, names):
    """worst_windows.json with six windows."""
    windows = [
        {
            "recording": f"run{i}",
            "start": 64 * i,
            "subject": "106",
            "true": names[0],
            "predicted": names[1],
            "confidence": 0.999 - i / 100,
            "values": np.cumsum(rng.normal(size=(50, len(CHANNELS))), axis=0).round(3).tolist(),
        }
        for i in range(6)
    ]
    channels = [{"name": name, "group": group, "site": "hip", "unit": "g"} for name, group in CHANNELS]
    content = {"rate": 25.0, "channels": channels, "windows": windows}
    (workdir / "worst_windows.json").write_text(json.dumps(content))


def write_robustness(workdir, clean=0.9):
    """robustness.json: two branches and a site that can be absent, five levels of noise, three ways of wearing."""

    def outcome(loss):
        scores = {"accuracy": clean - loss, "f1_macro": clean - loss - 0.01}
        return {**scores, "accuracy_drop": loss, "f1_macro_drop": loss + 0.01}

    absent = [("branch", "res", 0.5, 0.2), ("branch", "dense", 0.11, 0.04), ("site", "hip", 0.15, 0.15)]
    content = {
        "clean": {"accuracy": clean, "f1_macro": clean},
        "absent": [
            {"kind": kind, "name": name, "channels": ["acc_x"], "fused": outcome(fused), "fallback": outcome(fallback)}
            for kind, name, fused, fallback in absent
        ],
        "shapley": {"res": 0.4321, "dense": 0.0123},
        "noise": [{"level": level, "fused": outcome(0.3 * level)} for level in (0.1, 0.25, 0.5, 1.0, 2.0)],
    }
    levels = [("rotation", 45.0, 0.3), ("mirror", 1.0, 0.1), ("rate", 0.5, 0.02), ("lost", 0.1, 0.01)]
    content["worn"] = [{"kind": kind, "level": level, "fused": outcome(loss)} for kind, level, loss in levels]
    (workdir / "robustness.json").write_text(json.dumps(content))
    return content


def write_everything(workdir, seed=0):
    """All three, for the run in a workdir that `make_workdir` of test_report made."""
    rng = np.random.default_rng(seed)
    names = json.loads((workdir / "result.json").read_text())["class_names"]
    rows = write_predictions(workdir, rng)
    write_worst(workdir, rng, names)
    write_robustness(workdir)
    return rows
