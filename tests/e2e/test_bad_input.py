"""What a user can get wrong: one line that says what to do, exit status 2, nothing half-written."""

import os
import shutil
import subprocess
import sys

import pytest

from configs import demo
from dcdp_jax.data.datasets import uci_har
from dcdp_jax.errors import UserError
from dcdp_jax.train.trainer import train
from tests.e2e.running import ARGUMENTS, EPOCHS, ROOT, SMALL, SMALL_DATA, command, environment_of_users, launch


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.train.epoch=3"], 'Did you mean "epochs"'),
        (["--config.train.epochs=many"], "train.epochs"),
        (["--config.optimizer.name=rmsprop"], "not one of adamw, adam, sgd"),
        (["--mode=bake"], "mode"),
        (["surplus"], "surplus"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments(arguments, message, tmp_path):
    workdir = tmp_path / "run"
    status, _, errors = command(*SMALL, *SMALL_DATA, f"--workdir={workdir}", *arguments)
    assert status == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.epochs": 0}, "train.epochs=0 is not between 1"),
        ({"optimizer.schedule": "step"}, "not one of cosine, constant"),
        ({"data.window": 100000}, "longest contiguous stretch has 1500 samples"),
        ({"data.window": 0}, "data.window=0"),
        ({"data.protocol": "official"}, "data.protocol='official'"),
        ({"data.name": "unheard_of"}, "data.name='unheard_of'"),
        ({"model.width": 5}, "must be even"),
        ({"model.resnet_blocks": (1, 1, 1)}, "same number of stages"),
        ({"model.resnet_blocks": (), "model.densenet_blocks": ()}, "same number of stages, one or more"),
        ({"model.branches": (("res", "resnet", ("acc",)), ("dense", "densenet", ()))}, "'dense'.*empty"),
        ({"model.branches": (("res", "resnet", ("acc",)), ("dense", "densenet", ("mag",)))}, "'mag'"),
        ({"model.branches": (("a", "resnet", ("acc",)), ("b", "densenet", ("acc", "gyro")))}, "wrist_acc_x"),
        ({"model.branches": (("a", "resnet", ("acc",)), ("a", "densenet", ("gyro",)))}, "'a' is used twice"),
        ({"model.branches": (("a", "transformer", ("acc",)), ("b", "densenet", ("gyro",)))}, "'transformer'"),
        ({"model.branches": (("res", "resnet", ("acc",)),), "cgm.enabled": False}, "wrist_gyro_x"),
        ({"model.branches": (("res", "resnet", ("acc", "gyro")),)}, "cgm.enabled=True compares branches"),
        ({"model.branches": (1, 2)}, "must look like"),
        ({"train.batch_size": 100000}, "training windows"),
        ({"train.batch_size": 20, "parallel.devices": 3}, "does not divide by the 3 devices"),
        ({"parallel.devices": 9}, "there are 8"),
        ({"parallel.strategy": "pjit"}, "not one of pmap, jit"),
        ({"parallel.process_id": 1}, "parallel.distributed=True only"),
        (
            {"train.class_weights": (("flying", 2.0),)},
            "train.class_weights names 'flying', expected classes of the data",
        ),
        ({"parallel.distributed": True, "parallel.processes": 2}, "parallel.coordinator='' .* give both"),
        (
            {"parallel.distributed": True, "parallel.processes": 2, "parallel.coordinator": "a:1"}
            | {"parallel.process_id": 2},
            "parallel.process_id=2 is not below parallel.processes=2",
        ),
    ],
    ids=str,
)
def test_bad_values(changes, message, tmp_path):
    config = demo.get_config()
    config.data.synthetic.subjects = 5
    config.data.synthetic.minutes = 1.0
    config.update_from_flattened_dict(changes)
    workdir = tmp_path / "run"
    with pytest.raises(UserError, match=message):
        train(config, workdir)
    assert not workdir.exists()


def test_no_config_and_no_such_config(tmp_path):
    status, _, errors = command(config="configs/nosuch.py")
    assert (status, errors) == (2, "error: configs/nosuch.py: no such config file\n")


def test_the_config_may_stand_anywhere(tmp_path):
    """ml_collections itself wants it before its fields."""
    arguments = ["--config.train.epochs=0", f"--workdir={tmp_path / 'run'}", "--config=configs/demo.py"]
    options = {"cwd": ROOT, "env": environment_of_users(), "capture_output": True, "text": True}
    finished = subprocess.run([sys.executable, "launch.py", *arguments], **options)
    assert finished.returncode == 2
    assert finished.stderr == "error: train.epochs=0 is not between 1 and 1e+06\n"


def test_absent_raw_files(tmp_path):
    status, _, errors = command(
        f"--config.data.raw_dir={tmp_path}", f"--workdir={tmp_path / 'run'}", config="configs/uci_har.py"
    )
    assert status == 2
    assert uci_har.SOURCE.folder in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_workdir_that_is_something_else(tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    status, _, errors = command(*SMALL, *SMALL_DATA, f"--workdir={tmp_path}")
    assert status == 2
    assert "choose another --workdir" in errors
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_damaged_checkpoint_stops_the_run(copied):
    arguments, last = (*ARGUMENTS, f"--workdir={copied}"), copied / "checkpoints" / str(EPOCHS)
    (copied / "result.json").unlink()
    for path in (last / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    status, _, errors = command(*arguments)
    assert status == 2
    assert str(last) in errors
    assert "move this folder away" in errors
    assert len(errors.strip().splitlines()) == 1
    shutil.rmtree(last)
    status, _, errors = launch(*arguments)
    assert status == 0, errors


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs the right to do so")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_no_space_to_write(small_disk):
    workdir = small_disk / "run"
    arguments = (*SMALL, *SMALL_DATA, "--config.model.width=32", "--config.train.epochs=2", f"--workdir={workdir}")
    status, _, errors = command(*arguments)
    assert status == 2
    assert "could not be written" in errors or "No space left" in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (workdir / "result.json").exists()
    assert not (workdir / "metrics.jsonl").exists()  # it fails before the first step, not after an epoch
