"""The revision in result.json is that of this package's own checkout, or None."""

import subprocess

from dcdp_jax.runs.result import git_revision


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_package_below_somebody_elses_checkout_has_no_revision(tmp_path):
    file = tmp_path / "venv" / "module.py"
    file.parent.mkdir()
    file.write_text("")
    assert git_revision(file) is None
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text("venv\n")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "commit", "-m", "theirs")
    assert git_revision(file) is None
    git(tmp_path, "add", "--force", "venv/module.py")
    git(tmp_path, "commit", "-m", "ours")
    commit = git_revision(file)
    assert len(commit) == 40
    file.write_text("changed")
    assert git_revision(file) == f"{commit}-dirty"
