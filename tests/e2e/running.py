"""Starting the command line as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The smallest network and data that the demo's config allows.
SMALL = (
    "--config.model.width=4",
    "--config.model.resnet_blocks=(1,1)",
    "--config.model.densenet_blocks=(1,1)",
    "--config.model.embedding=8",
    "--config.model.projection_hidden=8",
    "--config.model.projection=8",
    "--config.model.fusion_hidden=8",
)
SMALL_DATA = ("--config.data.synthetic.subjects=5", "--config.data.synthetic.minutes=4.0")


def start(*arguments, config="configs/demo.py", stdin=None, **environment):
    """A running launch.py."""
    return subprocess.Popen(
        [sys.executable, "launch.py", f"--config={config}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def launch(*arguments, config="configs/demo.py", **environment):
    """A finished launch.py: exit status, output, errors."""
    process = start(*arguments, config=config, **environment)
    output, errors = process.communicate(timeout=500)
    return process.returncode, output, errors


def read_json(path):
    return json.loads(path.read_text())
