"""Reading OPPORTUNITY-, PAMAP2- and WISDM-like files of whole size: this project's readers beside pandas' C reader.

    python benchmarks/reading.py [--repeats 5] [--whole]

Writes the files into a temporary folder, in the publishers' layouts and sizes. The readings take turns, each in
processes of its own and twice in each; the time is the best, the peak that of the first less what its process had
before. The readers do all they do: columns, labels, checks, filling of missing values, stretches. Pandas only parses:
`all columns` as a plain call does, which leaves WISDM's z a text that ends in a semicolon; `same columns` with usecols
and float32 and, for WISDM, z turned into numbers. Lines of WISDM that pandas cannot read are skipped. --whole adds all
24 files of OPPORTUNITY: reading, preparing, loading.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# Rows by subject and run: published totals are 557,963 (training) and 118,750 (test) for subjects 1 to 3.
SIZES = {
    1: {"ADL1": 51_116, "ADL2": 32_224, "ADL3": 33_273, "ADL4": 33_000, "ADL5": 30_000, "Drill": 55_000},
    2: {"ADL1": 42_000, "ADL2": 30_000, "ADL3": 34_000, "ADL4": 32_600, "ADL5": 31_900, "Drill": 53_000},
    3: {"ADL1": 37_000, "ADL2": 28_000, "ADL3": 27_000, "ADL4": 27_500, "ADL5": 26_750, "Drill": 71_350},
    4: {"ADL1": 41_000, "ADL2": 28_000, "ADL3": 26_000, "ADL4": 22_000, "ADL5": 31_000, "Drill": 45_000},
}


def write_opportunity(path, rows, rng):
    """About 1,000 bytes a line, as published; a pool of 5,000 different lines, each with its own time."""
    from dcdp_jax.data.datasets import opportunity

    values = rng.integers(-999, 1000, (5000, 249)).astype("U6")
    for sensor in range(12):  # the radio of the accelerometers loses packets in runs
        for start in rng.integers(0, 5000, 10):
            values[start : start + rng.integers(5, 100), 3 * sensor : 3 * sensor + 3] = "NaN"
    values[:, 133:193][rng.random((5000, 60)) < 0.5] = "NaN"  # objects: not in the challenge
    values[:, 242:] = "0"
    values[:, 242] = np.repeat(["0", "1", "2", "4", "5"], 1000)
    values[:, 248] = np.repeat(["0", *map(str, opportunity.GESTURES)], 278)[:5000]
    pool = [" ".join(row) for row in values]
    with path.open("w") as file:
        file.writelines(f"{round(i * 1000 / 30)} {pool[i % 5000]}\n" for i in range(rows))


def write_pamap2(path, rows, rng):
    values = rng.normal(0, 10, (5000, 52)).round(5).astype("U9")
    values[rng.random(5000) < 0.02, 1:18] = "NaN"
    values[np.arange(5000) % 11 != 0, 0] = "NaN"
    pool = [" ".join(row) for row in values]
    codes = (0, 1, 2, 3, 17, 16, 12, 13, 4, 7, 6, 5, 24)
    with path.open("w") as file:
        lines = (f"{8 + i / 100:.2f} {codes[i // 5000 % 13]} {pool[i % 5000]}\n" for i in range(rows))
        file.writelines(lines)


def write_wisdm(path, rows, rng):
    """With what the published file is known for: two records on a line, commas before semicolons, empty lines."""
    names = ("Jogging", "Walking", "Upstairs", "Downstairs", "Sitting", "Standing")
    pool = [",".join(row) for row in rng.normal(0, 7, (5000, 3)).round(7).astype("U10")]
    usual = ";\n"
    ends = {4_000: ";", 90_000: ";\n\n", **dict.fromkeys(range(600_000, 612_000), ",;\n")}
    with path.open("w") as file:
        for i in range(rows):
            user, clock = 1 + i // 30_506, 49_105_962_326_000 + 50_000_000 * i
            file.write(f"{user},{names[i // 5084 % 6]},{clock},{pool[i % 5000]}{ends.get(i, usual)}")


def read_ours(kind, path):
    from dcdp_jax.data.datasets import opportunity, pamap2, wisdm

    if kind == "opportunity":
        return opportunity.read_file(path, 3, "Drill")
    if kind == "pamap2":
        return pamap2.read_file(path, 102, "Protocol", False)
    return wisdm.read(path.parent)


def read_all_columns(kind, path):
    import pandas as pd

    if kind == "wisdm":
        return pd.read_csv(path, header=None, names=range(6), on_bad_lines="skip")
    return pd.read_csv(path, sep=" ", header=None)


def read_same_columns(kind, path):
    import pandas as pd

    from dcdp_jax.data.datasets import opportunity, pamap2

    if kind == "wisdm":
        types = {1: "category", 3: np.float32, 4: np.float32}
        table = pd.read_csv(path, header=None, names=range(6), dtype=types, on_bad_lines="skip")
        table[5] = table[5].str.rstrip(",;").astype(np.float32)
        return table
    columns = {
        "opportunity": (*opportunity.CHANNEL_COLUMNS, 0, 243, 249),
        "pamap2": (*pamap2.CHANNEL_COLUMNS, 0, 1),
    }[kind]
    return pd.read_csv(path, sep=" ", header=None, usecols=list(columns), dtype=np.float32)


READERS = {
    "this project": read_ours,
    "pandas, all columns": read_all_columns,
    "pandas, same columns": read_same_columns,
}


def child(reader, kind, path):
    """Seconds of a first and a second reading in this process, and the memory that the first took at its peak."""
    import pandas as pd  # noqa: F401 - part of the memory before

    from dcdp_jax.data import datasets  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        READERS[reader](kind, path)
        seconds.append(time.perf_counter() - start)
        if len(seconds) == 1:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": seconds, "peak": peak * 1024}))


def in_child(*arguments):
    command = [sys.executable, "-W", "ignore", __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def compare(kind, path, repeats):
    size = path.stat().st_size
    results = {reader: [] for reader in READERS}
    for _ in range(repeats):
        for reader in READERS:
            results[reader].append(json.loads(in_child("--child", reader, "--kind", kind, "--path", path)))
    ours = min(min(r["seconds"]) for r in results["this project"])
    for reader, runs in results.items():
        seconds, peak = min(min(r["seconds"]) for r in runs), max(r["peak"] for r in runs)
        print(
            f"| {kind}, {size / 1e6:.0f} MB | {reader} | {seconds:.3f} s | {size / seconds / 1e6:.0f} MB/s | "
            f"{seconds / ours:.2f} | {peak / 1e6:.0f} MB | {peak / size:.2f} |",
            flush=True,
        )


def whole(folder):
    """All 24 files: reading alone, then preparing, then a second start, each in its own process."""
    code = (
        "import resource, sys, time; from pathlib import Path; import numpy as np\n"
        "from dcdp_jax.data import load_recordings; from dcdp_jax.data.datasets import opportunity\n"
        "start = time.perf_counter(); raw, cache, how = sys.argv[1:]\n"
        "load = lambda: load_recordings('opportunity', raw, cache_dir=cache)\n"
        "found = opportunity.read(Path(raw)) if how == 'read' else load()\n"
        "rows = sum(len(r.labels) for r in found)\n"
        "print(f'| {how} | {rows:,} rows | {time.perf_counter() - start:.1f} s | '\n"
        "      f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB in all |')"
    )
    for how in ("read", "prepare", "second start"):
        command = [sys.executable, "-c", code, str(folder), str(folder.parent / "cache"), how]
        print(
            subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()[-1],
            flush=True,
        )


def write_files(folder, everything):
    rng = np.random.default_rng(0)
    write_opportunity(folder / "S3-Drill.dat", SIZES[3]["Drill"], rng)
    write_pamap2(folder / "subject102.dat", 447_000, rng)
    write_wisdm(folder / "WISDM_ar_v1.1_raw.txt", 1_098_207, rng)
    if everything:
        (folder / "dataset").mkdir()
        for subject, runs in SIZES.items():
            for run, rows in runs.items():
                write_opportunity(folder / "dataset" / f"S{subject}-{run}.dat", rows, rng)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--whole", action="store_true")
    for hidden in ("--child", "--kind", "--write"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.kind, options.path)
        return
    if options.write:
        write_files(options.path, options.whole)
        return
    with tempfile.TemporaryDirectory(prefix="dcdp_jax-reading-") as temporary:
        folder = Path(temporary)
        # In a process of its own: a child inherits the peak memory of the process that starts it.
        in_child("--write", "yes", "--path", folder, *(["--whole"] if options.whole else []))
        print("| file | reader | time | rate | times ours | peak memory | peak / size |\n|---|---|---|---|---|---|---|")
        for kind, name in (
            ("opportunity", "S3-Drill.dat"),
            ("pamap2", "subject102.dat"),
            ("wisdm", "WISDM_ar_v1.1_raw.txt"),
        ):
            compare(kind, folder / name, options.repeats)
        if options.whole:
            whole(folder / "dataset")


if __name__ == "__main__":
    main()
