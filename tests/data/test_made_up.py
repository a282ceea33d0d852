"""docs/adding_a_data_set.md: two files, a module and a config, make a data set that is trained on as any other."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding_a_data_set.md").read_text()
MODULE, CONFIG, WINDOWS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SMALL = (
    "--config.data.window=8",
    "--config.data.step=4",
    "--config.model.width=2",
    "--config.model.resnet_blocks=(1,)",
    "--config.model.densenet_blocks=(1,)",
    "--config.train.epochs=1",
    "--config.train.batch_size=8",
)


def launch(top, *arguments):
    """Runs the command in the copy, which has to find no other one."""
    environment = {**os.environ, "PYTHONPATH": str(top), "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, "launch.py", *arguments]
    return subprocess.run(command, cwd=top, env=environment, capture_output=True, text=True, timeout=500)


def test_a_data_set_in_two_files(tmp_path):
    top = tmp_path / "checkout"
    for part in ("dcdp_jax", "configs"):
        shutil.copytree(ROOT / part, top / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "launch.py", top)
    (top / "dcdp_jax" / "data" / "datasets" / "made_up.py").write_text(MODULE)
    (top / "configs" / "made_up.py").write_text(CONFIG)
    folder = tmp_path / "raw" / "Made Up"
    folder.mkdir(parents=True)
    for person in (1, 2, 29, 30):
        rows = [f"{(i // 20 % 2) * (i % 3)} {person} {i // 20 % 2}" for i in range(120)]
        (folder / f"{person}.txt").write_text("".join(f"{row}\n" for row in rows))
    where = (f"--config.data.raw_dir={tmp_path / 'raw'}", f"--config.data.cache_dir={tmp_path / 'cache'}")
    made = launch(top, "--config=configs/made_up.py", f"--workdir={tmp_path / 'run'}", *where, *SMALL)
    assert made.returncode == 0, made.stderr
    assert f"preparing made_up from {folder}, once" in made.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["dataset"], result["protocol"], result["class_names"]) == ("made_up", "standard", ["rest", "move"])
    assert result["subjects"] == {"train": [1, 2], "validation": [29], "test": [30]}
    assert result["marks"] == ["incomplete"]


def test_the_windows_are_the_pages(capsys):
    exec(WINDOWS, {})
    assert PAGE.endswith(f"```\n{capsys.readouterr().out}```\n")
