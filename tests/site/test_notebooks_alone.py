"""The notebooks stand alone: they carry the code, fetch what they need, and run where nothing of the book is."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, run_driver
from mirror import Mirror, archives, contents, whole_mnist
from test_build import book, write  # noqa: F401, a fixture
from test_notebooks import PAGES

from vaecore import data

QUICK = ("02_kl", "index" if whole_mnist() else "03_reparameterization")  # run at every change; the others are slow
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()
print(notebook.cells[-1].outputs[0].text)
"""


def carried(notebook):
    """Return the wheel in a notebook's first cell."""
    return zipfile.ZipFile(io.BytesIO(base64.b64decode(re.search(r'packed="([^"]+)"', notebook.cells[0].source)[1])))


def test_the_wheel_is_small_whole_and_the_same_in_all(site):
    sources = {name: nbformat.read(site / "notebooks" / f"{name}.ipynb", 4).cells[0].source for name in PAGES}
    imported = {name: re.search(r"imported=(.*),", source)[1] for name, source in sources.items()}
    assert {name for name, found in imported.items() if "torchvision" in found} == {
        name for name, text in PAGES.items() if re.search(r"^(import|from) torchvision", text, re.MULTILINE)
    }
    assert len({re.sub(r"imported=.*,", "", source) for source in sources.values()}) == 1
    assert len(sources["index"]) < 300_000
    wheel = carried(nbformat.read(site / "notebooks" / "index.ipynb", 4))
    names = set(wheel.namelist())
    there = {path for path in (ROOT / "vaecore").rglob("*") if path.suffix in (".py", ".js", ".css", ".json")}
    expected = {path.relative_to(ROOT).as_posix() for path in there if not {"digits", "__pycache__"} & set(path.parts)}
    assert expected <= names and not any(name.endswith((".safetensors", ".gz")) for name in names)


def test_the_wheel_works_where_it_is_unpacked(site, tmp_path):
    """It has the recorded runs and the cards of the weights; without digits and network it says so in one sentence."""
    carried(nbformat.read(site / "notebooks" / "index.ipynb", 4)).extractall(tmp_path)
    ask = """
import vaecore.explorer
from vaecore import data, records, runs
print(vaecore.__file__, len(records.runs("m1_fp32")) > 0, runs.card("m2-book")["threads"] > 0)
try:
    data.mnist()
except ConnectionError as error:
    print(error)
"""
    environment = surroundings(tmp_path) | {"VAECORE_MIRROR": "http://127.0.0.1:9"}
    said = subprocess.check_output([sys.executable, "-c", ask], cwd=tmp_path, env=environment, text=True)
    facts, sentence = said.splitlines()
    assert facts.split() == [str(tmp_path / "vaecore" / "__init__.py"), "True", "True"]
    assert "MNIST could not be downloaded" in sentence and "set $VAECORE_DATA" in sentence


def test_pip_s_wheel_has_all_that_is_no_code(tmp_path):
    """What `pip install` of the project would bring; built in a copy, for setuptools writes into its folder."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "vaecore", tmp_path / "vaecore", ignore=shutil.ignore_patterns("__pycache__"))
    make = "from setuptools.build_meta import build_wheel; build_wheel('made')"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, check=True, capture_output=True)
    (made,) = (tmp_path / "made").iterdir()
    kinds = (".js", ".css", ".json", ".safetensors", ".gz")
    expected = {p.relative_to(ROOT).as_posix() for p in (ROOT / "vaecore").rglob("*") if p.suffix in kinds}
    assert len(expected) > 20 and expected <= set(zipfile.ZipFile(made).namelist())


@pytest.mark.slow
def test_a_published_book_offers_colab_and_its_weights(book):  # noqa: F811
    """Built twice with both addresses set: the same bytes, the button, the links and the weights."""
    config = (book / "_config.yml").read_text()
    config = config.replace('  url: "" ', '  url: "https://github.com/someone/some.book" ')
    (book / "_config.yml").write_text(config.replace('baseurl: "" ', 'baseurl: "https://example.org/book" '))
    write(book, "```{code-cell} ipython3\n1 + 1\n```\n\nTwo.\n")
    for out in ("one", "two"):
        built = run_driver("--out", book / out, root=book)
        assert built.returncode == 0, built.stdout[-2000:]
    one, two = (book / out / "_build" / "html" for out in ("one", "two"))
    assert (one / "notebooks" / "index.ipynb").read_bytes() == (two / "notebooks" / "index.ipynb").read_bytes()
    opens = "https://colab.research.google.com/github/someone/some.book/blob/gh-pages/notebooks/index.ipynb"
    assert f'<a href="{opens}">Open in Colab</a>' in (one / "index.html").read_text()
    notebook = nbformat.read(one / "notebooks" / "index.ipynb", 4)
    assert 'weights="https://example.org/book/weights/"' in notebook.cells[0].source
    assert "](https://example.org/book/)" in notebook.cells[-1].source
    weights = {path.name: path.read_bytes() for path in (ROOT / "vaecore" / "weights").iterdir()}
    assert {path.name: path.read_bytes() for path in (one / "weights").iterdir()} == weights


def surroundings(home):
    """Return the environment variables of a new user whom nothing but this machine answers."""
    ours = ("VAECORE_", "PYTHON", "JUPYTER", "IPYTHON", "XDG_", "VIRTUAL_ENV", "MPL")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    nobody = "http://127.0.0.1:9"
    proxies = dict(http_proxy=nobody, https_proxy=nobody, HTTP_PROXY=nobody, HTTPS_PROXY=nobody)
    return kept | proxies | dict(HOME=str(home), no_proxy="127.0.0.1", NO_PROXY="127.0.0.1")


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """An environment that borrows this one's packages, but not vaecore: an editable install needs more than a path."""
    folder = tmp_path_factory.mktemp("bare")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    site.joinpath("borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    python = folder / "venv" / "bin" / "python"
    tried = subprocess.run([python, "-c", "import torch, vaecore"], cwd=folder, capture_output=True, text=True)
    assert "No module named 'vaecore'" in tried.stderr
    return python


def downloaded_mnist() -> Path | None:
    """Return the user's cache, filled where it was empty; None without network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VAECORE_DATA", raising=False)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vaecore")
        return cache if data.mnist().is_full else None


@pytest.fixture(scope="module")
def server():
    """A web server on this machine that plays the published site's weights and, where it can, the mirror of MNIST."""
    root = whole_mnist() or downloaded_mnist()
    weights = (ROOT / "vaecore" / "weights").iterdir()
    digits = archives(contents(root)) if root else {}
    mirror = Mirror(digits | {f"/weights/{path.name}": path.read_bytes() for path in weights})
    mirror.has_mnist = bool(root)
    yield mirror
    mirror.close()


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PAGES])
def test_it_runs_where_nothing_of_the_book_is(name, site, bare_python, server, tmp_path):
    notebook = nbformat.read(site / "notebooks" / f"{name}.ipynb", 4)
    if any("mnist(" in cell.source for cell in notebook.cells[1:]) and not server.has_mnist:
        remedy = "set $VAECORE_DATA to a folder that has it, or run again with network"
        pytest.fail(f"This notebook wants all of MNIST, which this machine does not have; {remedy}.", pytrace=False)
    notebook.cells.append(nbformat.v4.new_code_cell("import vaecore\nprint(vaecore.__file__)"))
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    empty, home = tmp_path / "empty", tmp_path / "home"
    empty.mkdir()
    home.mkdir()
    environment = surroundings(home) | dict(VAECORE_MIRROR=server.address, VAECORE_WEIGHTS=f"{server.address}weights")
    command = [bare_python, "-c", RUN, tmp_path / "notebook.ipynb"]
    ran = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.startswith(str(home / ".cache" / "vaecore" / "code"))
