"""Runs the command line as a user does, and stops it in the middle where a test needs that."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

from absl import flags
from absl.testing import flagsaver

from dcdp_jax import cli
from tests.conftest import FAST_COMPILATION

ROOT = Path(__file__).parents[2]
HOLDING = Path(__file__).with_name("holding")
# A process that hangs fails its test, and one on a busy machine does not: this is far above what any of them takes.
WAIT_SECONDS = 1100
# The smallest network and data that the demo's config allows. With a constant learning rate, modulated in every
# epoch, the compiled programs are the same for any number of epochs, so that tests share them.
SMALL = (
    "--config.model.width=4",
    "--config.model.resnet_blocks=(1,)",
    "--config.model.densenet_blocks=(1,)",
    "--config.model.embedding=8",
    "--config.model.projection_hidden=8",
    "--config.model.projection=8",
    "--config.model.fusion_hidden=8",
    "--config.optimizer.schedule=constant",
    "--config.optimizer.warmup_fraction=0.0",
    "--config.cgm.end_epoch=100000",
)
SMALL_DATA = ("--config.data.synthetic.subjects=5", "--config.data.synthetic.minutes=4.0")
# The run that the session's fixture `finished` has trained.
EPOCHS = 6
ARGUMENTS = (*SMALL, *SMALL_DATA, f"--config.train.epochs={EPOCHS}")


# Processes that a test has started; tests/e2e/conftest.py ends those that the test leaves behind.
started = []


def environment_of_users():
    """Returns the variables of this process without those that let XLA optimize little."""
    return {name: value for name, value in os.environ.items() if name not in FAST_COMPILATION}


def start(*arguments, config="configs/demo.py", stdin=None, **environment):
    """Starts launch.py and returns the running process."""
    process = subprocess.Popen(
        [sys.executable, "launch.py", f"--config={config}", *map(str, arguments)],
        cwd=ROOT,
        env=environment_of_users() | environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def finish(process):
    """Waits for the end of a process and returns its exit status, output and errors."""
    output, errors = process.communicate(timeout=WAIT_SECONDS)
    return process.returncode, output, errors


def launch(*arguments, config="configs/demo.py", **environment):
    """Runs launch.py to its end and returns its exit status, output and errors."""
    return finish(start(*arguments, config=config, **environment))


@contextlib.contextmanager
def parsed(*arguments, config="configs/demo.py"):
    """Parses a command line in this process and yields what `cli.main` takes; restores the flags afterwards."""

    def forget_fields():
        for name in [name for name in flags.FLAGS if name.startswith("config.")]:
            delattr(flags.FLAGS, name)

    before = sys.argv
    with flagsaver.flagsaver(), warnings.catch_warnings(), contextlib.chdir(ROOT):
        warnings.filterwarnings("ignore", r"the load_module\(\) method")  # how ml_collections loads a config
        forget_fields()
        try:
            yield cli.parse_flags(["launch.py", *([f"--config={config}"] if config else []), *map(str, arguments)])
        finally:
            forget_fields()
            sys.argv = before


def command(*arguments, config="configs/demo.py"):
    """Runs the command line in this process, and returns what `launch` does in seconds less.

    For tests of what a command says and writes; JAX has the eight devices of the tests.
    """
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            with parsed(*arguments, config=config) as left:
                status = cli.main(left)
        except SystemExit as end:
            status = end.code
    return status, output.getvalue(), errors.getvalue()


def wait_for(condition, process=None):
    """Returns what a condition gives once that is true; fails where a process that should make it true ends first."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def read_json(path):
    """Reads a file of JSON."""
    return json.loads(path.read_text())


def children_of(pid):
    """Returns the ids of all processes below a process."""
    below = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    return below + [pid for child in below for pid in children_of(child)]


def is_running(pid):
    """Returns whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


class Hold:
    """A gate at which processes wait before they rename a file to a path that matches a pattern.

    It acts on processes that are started with its `environment`, and on those that they start. What they have saved
    when they wait does not depend on how fast the machine is. See tests/e2e/holding/sitecustomize.py.

    Attributes:
      environment: variables for the processes.
    """

    def __init__(self, gate, pattern):
        """Closes the gate.

        Args:
          gate: a file that this makes; removing it opens the gate.
          pattern: of `fnmatch`, of whole paths.
        """
        self._gate, self._reached = gate, gate.with_suffix(".reached")
        self.environment = {"HOLD_GATE": str(gate), "PYTHONPATH": f"{HOLDING}{os.pathsep}{ROOT}"}
        self.close(pattern)

    def close(self, pattern):
        """Lets processes wait at another pattern from now on."""
        self._reached.write_text("")
        self._gate.write_text(pattern)

    def open(self):
        """Lets all that wait go on, and no process wait from now on."""
        self._gate.unlink()

    def reached(self):
        """Returns the paths at which processes have begun to wait."""
        return list(map(Path, self._reached.read_text().splitlines()))
