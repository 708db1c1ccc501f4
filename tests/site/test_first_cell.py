"""The first cell of a notebook: it adds what is missing, leaves what is there, and finds its own code again."""

import ast
import base64
import importlib
import io
import lzma
import os
import pwd
import sys
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import vaecore  # noqa: F401, so that every test finds, and leaves, it imported
from tools import first_cell as cell

NEEDED = ("torch>=2.6", "numpy>=1.26", "graphviz_pure>=0.2.2", "anywidget>=0.9")
PINS = "anywidget==0.11.0\ngraphviz-pure==0.2.2\nipywidgets==8.1.9\nnumpy==2.4 ; python_version < '3.12'\n"
PINS += "numpy==2.5 ; python_version >= '3.12'\npsygnal==0.16\ntorch==2.15.0\ntorchvision==0.29.2\n"


def packed(code="WHO = 'carried'\n"):
    """Return a small wheel, in base64."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        wheel.writestr("vaecore/__init__.py", code)
        wheel.writestr("vaecore/js/live.js", "let z;\n")
        wheel.writestr("vaecore-1+a.dist-info/constraints.txt", PINS)
        metadata = ["Name: vaecore", "Version: 1+a", *(f"Requires-Dist: {line}" for line in NEEDED)]
        wheel.writestr("vaecore-1+a.dist-info/METADATA", "\n".join(metadata))
    return base64.b64encode(lzma.compress(content.getvalue())).decode()


@pytest.fixture
def world(monkeypatch, tmp_path):
    """A Python with the packages `here`, whose pip notes how it is called and ends with `status`."""
    here = {"torch": "2.6.0+cu124", "NumPy": "2.0.2", "ipywidgets": "7.7.1", "graphviz-pure": "0.2.2"}
    world = SimpleNamespace(here=here | {"anywidget": "0.11.0"}, calls=[], status=0)

    def pip(command):
        constraints = Path(command[command.index("--constraint") + 1]).read_text().split("\n")
        world.calls.append((command[command.index("--constraint") + 2 :], constraints))
        return SimpleNamespace(returncode=world.status)

    def distributions():
        return [SimpleNamespace(name=name, version=version) for name, version in world.here.items()]

    monkeypatch.setattr(cell.importlib.metadata, "distributions", distributions)
    monkeypatch.setattr(cell.subprocess, "run", pip)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.delenv("VAECORE_WEIGHTS", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "installed"), *sys.path])
    for name in [name for name in sys.modules if name.split(".")[0] == "vaecore"]:
        monkeypatch.delitem(sys.modules, name)
    world.unpacked = tmp_path / "cache" / "vaecore" / "code" / "1+a"
    world.installed = tmp_path / "installed"
    return world


def test_what_is_missing_comes_pinned_and_what_is_here_stays(world):
    cell.bring(packed=packed(), weights="", imported=["ipywidgets"])
    assert world.calls == []
    del world.here["anywidget"], world.here["graphviz-pure"]
    cell.bring(packed=packed(), weights="")
    ((asked, constraints),) = world.calls
    assert asked == ["graphviz-pure", "anywidget"]
    assert {"anywidget==0.11.0", "graphviz-pure==0.2.2", "psygnal==0.16"} <= set(constraints)
    assert {"torch==2.6.0+cu124", "numpy==2.0.2", "ipywidgets==7.7.1"} <= set(constraints)
    assert not any(line.startswith(("torch==2.15", "numpy==2.4", "numpy==2.5")) for line in constraints)


@pytest.mark.parametrize("torch_is_here", [True, False])
def test_what_the_notebook_imports_comes_too_and_fits_the_torch_that_is_here(world, torch_is_here):
    if not torch_is_here:
        del world.here["torch"]
    cell.bring(packed=packed(), weights="", imported=["torchvision"])
    ((asked, constraints),) = world.calls
    assert asked == ["torchvision"] if torch_is_here else ["torch", "torchvision"]
    assert ("torchvision==0.29.2" in constraints) != torch_is_here


def test_when_pip_fails_one_sentence_says_so(world):
    del world.here["anywidget"]
    world.status = 1
    with pytest.raises(RuntimeError, match=r"^This notebook needs anywidget, which pip could not install"):
        cell.bring(packed=packed(), weights="")


def restart():
    """Leave Python as a new kernel would find it."""
    sys.path.pop(0)
    sys.modules.pop("vaecore", None)


def test_missing_code_is_unpacked_once_and_mended(world):
    cell.bring(packed=packed(), weights="")
    source = world.unpacked / "vaecore" / "__init__.py"
    (world.unpacked / "same folder").touch()
    assert sys.path[0] == os.environ["PYTHONPATH"] == str(world.unpacked)
    assert importlib.import_module("vaecore").WHO == "carried"
    restart()
    cell.bring(packed=packed(), weights="")
    assert (world.unpacked / "same folder").exists()
    restart()
    source.write_text("WHO = 'damaged'")
    cell.bring(packed=packed(), weights="")
    assert source.read_text() == "WHO = 'carried'\n" and len(list(world.unpacked.parent.iterdir())) == 1


@pytest.mark.parametrize(
    "cache, home, used",  # $XDG_CACHE_HOME, $HOME, and where the code lies; in HERE/file, a file, it cannot
    [
        ("", "HERE/home", "home/.cache"),
        ("~/mine", "HERE/home", "home/mine"),
        ("mine", "HERE/home", "home/.cache"),
        ("HERE/file/mine", "HERE/home", "home/.cache"),
        ("HERE/file/mine", "HERE/file/home", "temporary"),
        ("", None, "temporary"),
    ],
)
def test_the_code_lies_where_it_can_and_never_in_the_working_folder(world, monkeypatch, tmp_path, cache, home, used):
    (tmp_path / "file").touch()
    for folder in ("working", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "working")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("XDG_CACHE_HOME", cache.replace("HERE", str(tmp_path)))
    if home:
        monkeypatch.setenv("HOME", home.replace("HERE", str(tmp_path)))
    else:  # nor is the user known by name
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    cell.bring(packed=packed(), weights="")
    found = importlib.import_module("vaecore")
    assert found.WHO == "carried" and Path(found.__file__).is_relative_to(tmp_path / used)
    assert list((tmp_path / "working").iterdir()) == []


@pytest.mark.parametrize("installed, used", [("WHO = 'carried'\n", False), ("WHO = 'another build'\n", True)])
def test_installed_code_is_used_only_if_it_is_the_same(world, installed, used):
    for name, text in (("__init__.py", installed), ("js/live.js", "let z;\n")):
        (world.installed / "vaecore" / name).parent.mkdir(parents=True, exist_ok=True)
        (world.installed / "vaecore" / name).write_text(text)
    assert importlib.import_module("vaecore").__file__.startswith(str(world.installed))
    cell.bring(packed=packed(), weights="")
    assert world.unpacked.exists() == used
    found = importlib.import_module("vaecore")
    assert found.WHO == "carried" and found.__file__.startswith(str(world.unpacked if used else world.installed))
    assert (world.installed / "vaecore" / "__init__.py").read_text() == installed


def test_an_old_python_gets_a_sentence(world, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    with pytest.raises(RuntimeError, match=r"needs Python 3.11 or newer; this is 3\."):
        cell.bring(packed=packed(), weights="")
    ast.parse(Path(cell.__file__).read_text(), feature_version=(3, 8))  # so far back can Python read the cell
