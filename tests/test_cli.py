"""The command line before anything is trained: help, names of configs, what cannot be parsed."""

import pwd
import sys
from pathlib import Path

import pytest

from configs.studies import default as studies
from dcdp_jax import cli
from dcdp_jax.data.download import cache_folder
from dcdp_jax.errors import ConfigError
from dcdp_jax.evaluate import portability
from dcdp_jax.fields import FIELDS, STUDY_FIELDS
from dcdp_jax.studies.study import study
from tests.e2e.running import command

ROOT = Path(__file__).parents[1]


def test_help_names_every_mode_config_and_field():
    lines = cli.help_text().splitlines()
    assert [line.split()[0] for line in lines[lines.index("modes:") + 1 :][: len(cli.MODES)]] == list(cli.MODES)
    words = set(" ".join(lines).split())
    assert {field.name for field in (*FIELDS, *STUDY_FIELDS)} <= words
    assert {"demo", "uci_har", "studies/table2"} <= words
    assert max(map(len, lines)) <= 120


def test_help_for_a_section_or_a_field(capsys):
    assert cli.help_text("loss").splitlines()[:2] == [
        "loss.align_weight=0.7",
        "    lambda, the weight of contrast and alignment. [at least 0]",
    ]
    assert "[adamw, adam, sgd]" in cli.help_text("optimizer.name")
    with pytest.raises(SystemExit):
        cli.help_text("optimiser")
    assert "no such section or field; the sections are data, data.synthetic" in capsys.readouterr().err


def test_configs_are_files_or_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found, _, argument = cli.find_config("studies/table2:uci_har").partition(":")
    assert Path(found).samefile(ROOT / "configs" / "studies" / "table2.py")
    assert argument == "uci_har"
    (tmp_path / "demo").write_text("")
    assert cli.find_config("demo") == "demo"
    for name in ("configs/demo.py", "default", "../fields"):
        with pytest.raises(SystemExit):
            cli.find_config(name)
        assert f"error: {name}: no such config file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "workdir"),
    [
        ("configs/oppo.py", "runs/oppo"),
        ("/a/configs/b/dcdp_jax/configs/studies/table2.py:uci_har,dsads", "runs/studies/table2-uci_har,dsads"),
        ("mine.py", "runs/mine"),
    ],
)
def test_the_default_workdir(config, workdir):
    assert cli.default_workdir(config) == workdir


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.train.epoch=3"], 'the config has no field \'epoch\'. Did you mean "epochs" instead of "epoch"?'),
        (["--config.trane.epochs=3"], 'the config has no field \'trane\'. Did you mean "train" instead of "trane"?'),
        (["--config.data.normalize=robust"], "data.normalize='robust' is not one of zscore, minmax, none"),
        (
            ["--config.data.view=fourier"],
            "data.view='fourier' is not one of raw, derived, mirror, axis, body, vertical",
        ),
        (["--config.cgm.alpha=inf"], "cgm.alpha=inf is not finite"),
        (["--config.cgm.enabled=yes"], "flag --config.cgm.enabled=yes: expected True or False"),
    ],
)
def test_one_line_for_a_wrong_field(arguments, message, tmp_path):
    status, _, errors = command(f"--workdir={tmp_path / 'run'}", *arguments, config="uci_har")
    assert (status, errors) == (2, f"error: {message}\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def get_config(:", ", line 1: SyntaxError: invalid syntax"),
        ("import no_such_module", ", line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("\ndef get_config():\n    return int('x')", ", line 3: ValueError: invalid literal for int"),
        ("def get_config(name):\n    return None", ": TypeError: get_config() missing 1 required"),
        ("def config():\n    return None", ": AttributeError: module 'config_config' has no attribute 'get_config'"),
        ("def get_config():\n    return {}", ": get_config() returned a dict, expected a ConfigDict"),
        (
            "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict()",
            "error: seed is not set; derive the config from configs/default.py",
        ),
    ],
)
def test_one_line_for_a_config_file_with_a_fault(code, message, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # else the names of the last file stay
    path = tmp_path / "mine.py"
    path.write_text(code)
    status, _, errors = command(f"--workdir={tmp_path / 'run'}", config=path)
    start = "" if message.startswith("error") else f"error: {path}"
    assert (status, errors.count("\n")) == (2, 1)
    assert errors.startswith(start + message)
    assert not (tmp_path / "run").exists()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    status, _, errors = command("--workdir=~/run", "--mode=predict", "--input=x.csv")
    assert (status, errors[: len(f"error: {tmp_path}/run")]) == (2, f"error: {tmp_path}/run")
    assert not Path("~").exists()


def test_a_user_without_a_home_folder(tmp_path, monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"name one with --config\.data\.cache_dir=FOLDER, or set HOME"):
        cache_folder()
    assert cache_folder(str(tmp_path)) == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "dcdp_jax"


def test_a_study_that_cannot_run_leaves_nothing(tmp_path):
    config = studies.get_config()
    config.study.workers = 0
    with pytest.raises(ConfigError, match=r"study\.workers=0 is not between 1 and"):
        study(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_describe_refuses_the_branches_that_training_refuses(tmp_path):
    config = studies.smallest()
    config.data.synthetic.minutes = 1.0
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("mag",)))
    with pytest.raises(ConfigError, match="'mag'"):
        cli.describe(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_configs_are_refused():
    status, _, errors = command("--config=uci_har", "--config.seed=1")
    assert status == 2
    assert errors == "error: --config is given 2 times: configs/demo.py, uci_har\n"


def test_the_page_of_portability_can_be_written_before_anything_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(portability, "check_portability", lambda config: pytest.fail("checked first"))
    (tmp_path / "file").touch()
    status, _, errors = command("--mode=portability", f"--workdir={tmp_path / 'file'}")
    assert (status, errors) == (2, f"error: [Errno 17] File exists: '{tmp_path / 'file'}'\n")
