"""What a run's row says of the pack: its version and commit, however it came onto the machine."""

import subprocess
from importlib import metadata

import pytest

from wattbench.measure.recording.environment import git_commit, pack_version


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit, and a function that runs git in it."""

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", *identity, *arguments]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    return tmp_path, git


def test_commit_of_a_branch(checkout):
    root, git = checkout
    assert git_commit(root) == git("rev-parse", "HEAD")


def test_commit_of_a_branch_that_git_has_packed_away(checkout):
    root, git = checkout
    git("branch", "another/branch")
    git("pack-refs", "--all")
    assert git_commit(root) == git("rev-parse", "HEAD")


def test_commit_without_a_branch(checkout):
    root, git = checkout
    git("checkout", "--quiet", "--detach")
    assert git_commit(root) == git("rev-parse", "HEAD")


def test_no_commit_outside_of_a_checkout(tmp_path):
    assert git_commit(tmp_path) == ""


def test_version_is_that_of_the_folder_else_of_the_installed_package(tmp_path):
    assert pack_version(tmp_path) == metadata.version("wattbench")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "7.8.9"\n')
    assert pack_version(tmp_path) == "7.8.9"
