"""Set-up: done once, done again when its inputs change, repaired after a kill, refused in one sentence."""

import hashlib
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

FILE = ROOT / "book" / "_ext" / "environment.py"


class Killed(Exception):
    pass


def load():
    spec = importlib.util.spec_from_file_location("environment", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """The set-up program on an empty project; `setup.log` tells whether it created or filled an environment."""
    module = load()
    module.ROOT, module.VENV = tmp_path, tmp_path / ".venv"
    module.READY, module.MAKING = module.VENV / ".ready", module.VENV / ".making"
    module.LOCK, module.PROJECT = tmp_path / "requirements.txt", tmp_path / "pyproject.toml"
    module.LOCK.write_text("torch==1 \\\n    --hash=sha256:a\nuv==1 \\\n    --hash=sha256:b\n")
    module.PROJECT.touch()
    module.log = []

    def make(*command):
        module.log.append("create")
        (module.VENV / "bin").mkdir()
        (module.VENV / "bin" / "python").symlink_to(sys.executable)

    def call(*arguments, killed=False):
        def fill(kept):
            module.log.append(f"fill {kept}" if kept else "fill")
            if killed:
                raise Killed

        module.log.clear()
        module.fill = fill
        monkeypatch.setattr(sys, "argv", ["environment.py", *arguments])
        module.main()

    monkeypatch.setattr(module, "run", make)
    monkeypatch.setattr(module, "installed_torch_folders", lambda python: ["/site"])
    module.call = call
    return module


def test_it_is_done_once(setup):
    setup.call()
    assert setup.log == ["create", "fill"]
    setup.call()
    assert setup.log == []


def test_a_changed_lock_fills_again(setup):
    setup.call()
    setup.LOCK.write_text("torch==2\n")
    setup.call()
    assert setup.log == ["fill"]


@pytest.mark.parametrize("after_a_good_one", [False, True])
def test_a_killed_set_up_is_repaired(setup, after_a_good_one):
    if after_a_good_one:
        setup.call()
        setup.LOCK.write_text("torch==2\n")
    with pytest.raises(Killed):
        setup.call(killed=True)
    leftover = setup.VENV / "half a package"
    leftover.touch()
    setup.call()
    assert setup.log == ["create", "fill"] and not leftover.exists()
    setup.call()
    assert setup.log == []


def test_a_kept_torch_is_remembered(setup):
    setup.call("--torch", "installed")
    assert setup.log == ["create", "fill ['/site']"]
    setup.call("--keep-python")
    assert setup.log == []
    setup.LOCK.write_text("torch==2\n")
    setup.call("--keep-python")
    assert setup.log == ["fill ['/site']"]
    setup.call("--torch", "pinned")
    assert setup.log == ["create", "fill"]


def test_a_moved_project_starts_anew(setup):
    setup.call()
    setup.ROOT = setup.ROOT / "elsewhere"
    setup.call()
    assert setup.log == ["create", "fill"]


def test_another_python_starts_anew(setup, monkeypatch):
    setup.call()
    monkeypatch.setattr(sys, "prefix", "/another/python")
    setup.call("--keep-python")
    assert setup.log == []
    setup.call()
    assert setup.log == ["create", "fill"]


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 14, 0)])
def test_a_python_that_does_not_fit_gets_a_sentence(setup, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit, match=r"needs Python 3.11, 3.12 or 3.13, but .* is 3.1[04]; name another"):
        setup.call()
    assert setup.log == []


def test_a_torch_that_is_not_there_costs_nothing(setup, monkeypatch):
    setup.call()
    monkeypatch.setattr(setup, "installed_torch_folders", lambda python: setup.stop("not there"))
    with pytest.raises(SystemExit, match="not there"):
        setup.call("--torch", "installed")
    monkeypatch.undo()
    assert setup.READY.exists()


def test_the_lock_is_cut_without_loss(setup):
    text = (ROOT / "requirements.txt").read_text()
    cut = setup.requirements(text)
    assert "".join(block for _, block in cut) == text[text.index("\n", text.index("make lock")) + 1 :]
    names = {name for name, _ in cut}
    assert {"torch", "triton", "uv", "numpy", "nvidia-cublas"} <= names
    kept = {name for name in names if not setup.TORCH_AND_ITS_CUDA.match(name)}
    assert not any(name.startswith(("torch", "nvidia", "cuda", "triton")) for name in kept)
    assert {"numpy", "jupyter-book", "uv"} <= kept


def test_old_pythons_can_read_it():
    """The sentence about the version must reach Python 3.6, so its grammar must do."""
    code = f"import ast; ast.parse(open({str(FILE)!r}).read(), feature_version=(3, 6))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def wheel(folder):
    """A package with nothing in it."""
    path = folder / "small-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("small-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1\n")
        file.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("small-1.dist-info/RECORD", "")
    return path


@pytest.mark.parametrize("hashed", ["right", "wrong", "none"])
def test_only_a_package_with_the_locks_hash_is_installed(hashed, tmp_path, monkeypatch, capfd):
    module, path = load(), wheel(tmp_path)
    module.VENV, module.LOCK = tmp_path / ".venv", tmp_path / "requirements.txt"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", module.VENV], check=True)
    (module.VENV / "bin" / "uv").symlink_to(Path(sys.prefix, "bin", "uv"))
    pin = re.search(r"uv==\S+", (ROOT / "requirements.txt").read_text()).group()
    digest = {"right": hashlib.sha256(path.read_bytes()).hexdigest(), "wrong": 64 * "0"}.get(hashed)
    line = f"small @ {path.as_uri()}" + (f" \\\n    --hash=sha256:{digest}" if digest else "")
    module.LOCK.write_text(
        f"# made by hand\n{line}\n{pin} ; python_version < '3' \\\n    --hash=sha256:{64 * '0'}\n"
    )  # uv is there
    install = module.run
    monkeypatch.setattr(module, "run", lambda *words: install(*words) if "sync" in words else None)
    monkeypatch.setattr(module, "answer", lambda *words: "")

    def installed():
        return list(module.VENV.rglob("small-1.dist-info"))

    if hashed == "right":
        module.fill([])
        assert installed()
        return
    with pytest.raises(SystemExit, match=r"setting up \.venv failed at `.*uv pip sync"):
        module.fill([])
    assert "hash" in capfd.readouterr().err.lower() and not installed()
