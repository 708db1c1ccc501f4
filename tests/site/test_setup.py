"""Set-up: done once, done again when its inputs change, repaired after a kill, refused in one sentence."""

import os
import subprocess
from pathlib import Path

import pytest
from site_pages import ROOT

PYTHON = """#!/bin/sh
echo "$(basename "$0") $*" | cut -c1-30 >>LOG
case "$*" in
"-c import sys"*) exit ${TOO_OLD:-0} ;;
"-c import os, torch"*) echo /folder/of/torch; exit ${NO_TORCH:-0} ;;
"-m venv"*) mkdir -p .venv/bin .venv/lib/python3/site-packages; cp "$0" .venv/bin/python ;;
"-m pip install"*) cp "$0" .venv/bin/uv ;;
"pip sync"*) cp .venv/lock.txt synced; exit ${KILLED:-0} ;;
esac
"""


@pytest.fixture
def setup(tmp_path):
    """Set-up of a small project by an imitated Python, which notes its calls: call it with PYTHON, TORCH and KEEP."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "setup.sh").write_bytes((ROOT / "tools" / "setup.sh").read_bytes())
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements.txt").write_text("numpy==1 \\\n    --hash=a\ntorch==2 \\\n    --hash=b\nuv==3\n")
    for name in ("python3", "python3.12"):
        (tmp_path / name).write_text(PYTHON.replace("LOG", str(tmp_path / "log")))
        (tmp_path / name).chmod(0o755)

    def run(python="python3", torch="", keep="yes", **faults):
        (tmp_path / "log").write_text("")
        environment = os.environ | faults | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        command = ["sh", tmp_path / "tools" / "setup.sh", python, torch, keep]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        calls = (tmp_path / "log").read_text()
        kind = "made" if "-m venv" in calls else "filled" if "pip sync" in calls else "left alone"
        return f"{kind}{': ' if done.returncode else ''}{done.stderr}"

    run.folder = tmp_path
    return run


def change(setup, file):
    path = Path(setup.folder, file)
    path.write_text(path.read_text() + "#\n")


def test_it_is_done_once_and_again_when_the_lock_or_the_place_changes(setup):
    assert [setup(), setup()] == ["made", "left alone"]
    for file in ("requirements.txt", "pyproject.toml"):
        change(setup, file)
        assert [setup(), setup()] == ["filled", "left alone"]
    assert [setup("python3.12", keep=""), setup(), setup("python3", keep="")] == ["made", "left alone", "made"]


def test_a_kept_torch_is_remembered(setup):
    assert setup(torch="installed") == "made"
    assert "torch" not in (setup.folder / "synced").read_text() and "numpy" in (setup.folder / "synced").read_text()
    assert next(iter(setup.folder.rglob("kept_torch.pth"))).read_text() == "/folder/of/torch\n"
    assert setup() == "left alone"
    change(setup, "requirements.txt")
    assert setup() == "filled" and "torch" not in (setup.folder / "synced").read_text()
    assert "TORCH=installed needs torch 2.6" in setup("python3.12", "installed", "", NO_TORCH="1")
    assert [setup(), setup(torch="pinned")] == ["left alone", "made"]


@pytest.mark.parametrize("after_a_good_one", [False, True])
def test_a_killed_set_up_is_repaired(setup, after_a_good_one):
    if after_a_good_one:
        setup(torch="installed")
        change(setup, "requirements.txt")
    assert "the reason stands above" in setup(torch="installed", KILLED="9")
    (setup.folder / ".venv" / "half a package").touch()
    assert [setup(), setup()] == ["made", "left alone"]
    assert "torch" not in (setup.folder / "synced").read_text()
    assert not (setup.folder / ".venv" / "half a package").exists()


def test_a_python_that_does_not_fit_gets_a_sentence(setup):
    assert "no 'python4' was found; install Python 3.11, 3.12 or 3.13" in setup("python4")
    assert setup(TOO_OLD="1").startswith("left alone: make: the book needs Python 3.11, 3.12 or 3.13, but ")
    assert setup(torch="mine").startswith("left alone: make: TORCH must be")
