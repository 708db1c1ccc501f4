"""The notebooks stand alone: they carry the code, fetch what they need, and run where nothing of the book is."""

import base64
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from mirror import Mirror, archives, contents, whole_mnist
from site_pages import ROOT, run_driver
from test_build import book, write  # noqa: F401, a fixture
from test_notebooks import PAGES

from tools.code_wheel import pins
from vaecore import data
from vaecore.download import cache_folder

QUICK = ("02_kl", "index" if whole_mnist() else "03_reparameterization")  # run at every change; the others are slow
ADDED = {"graphviz-pure", "jaxtyping", "wadler-lindig"}  # by the first cell in Colab; jaxtyping needs the last
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""
IN_COLAB = """import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")"""  # as a kernel of Colab's has it from the start


def carried(notebook):
    """Return the wheel in a notebook's first cell."""
    packed = re.search(r'packed="([^"]+)"', notebook.cells[0].source)[1]
    return zipfile.ZipFile(io.BytesIO(lzma.decompress(base64.b64decode(packed))))


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
    nobody = "http://127.0.0.1:9"
    environment = surroundings(tmp_path, VAECORE_MIRROR=nobody, http_proxy=nobody, https_proxy=nobody)
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
    """Built twice with both addresses set: the same bytes, the button, the links, the languages and the weights."""
    shutil.copytree(ROOT / "book" / "locales", book / "book" / "locales")
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

    assert (one / "ja/notebooks/index.ipynb").read_bytes() == (two / "ja/notebooks/index.ipynb").read_bytes()
    japanese = nbformat.read(one / "ja" / "notebooks" / "index.ipynb", 4)
    assert 'weights="https://example.org/book/weights/"' in japanese.cells[0].source
    assert "](https://example.org/book/ja/)" in japanese.cells[-1].source
    assert not (one / "ja" / "weights").exists()
    addresses = {"en": "https://example.org/book/index.html", "ja": "https://example.org/book/ja/index.html"}
    for language, page in (("en", one / "index.html"), ("ja", one / "ja" / "index.html")):
        head = page.read_text().partition("</head>")[0]
        assert dict(re.findall(r'rel="alternate" hreflang="(\w+)" href="([^"]+)"', head)) == addresses
        assert re.findall(r'rel="canonical" href="([^"]+)"', head) == [addresses[language]]
    assert opens.replace("notebooks", "ja/notebooks") in (one / "ja" / "index.html").read_text()


def surroundings(home, **more):
    """Return the environment variables of a new user."""
    ours = ("VAECORE_", "PYTHON", "JUPYTER", "IPYTHON", "XDG_", "VIRTUAL_ENV", "MPL")
    others = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return others | dict(HOME=str(home)) | more


def downloaded_mnist() -> Path | None:
    """Return the user's cache, filled where it was empty; None without network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VAECORE_DATA", raising=False)
        return cache_folder() if data.mnist().is_full else None


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


def installed(python):
    """Return what is installed there, as lines `name==version`."""
    freeze = [Path(sys.executable).with_name("uv"), "pip", "freeze", "--python", python]
    return set(subprocess.check_output(freeze, text=True).splitlines())


def run(python, notebook, folder, **variables):
    """Run a notebook as a new user of Colab, in an empty folder; return it with its outputs."""
    file, empty, home = (folder / name for name in ("notebook.ipynb", "empty", "home"))
    empty.mkdir()
    home.mkdir()
    notebook.cells.insert(0, nbformat.v4.new_code_cell(IN_COLAB))
    notebook.cells.append(nbformat.v4.new_code_cell("import vaecore\nprint(vaecore.__file__)"))
    nbformat.write(notebook, file)
    environment = surroundings(home, **variables)
    ran = subprocess.run([python, "-c", RUN, file], cwd=empty, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    notebook = nbformat.read(file, 4)
    assert notebook.cells[-1].outputs[0].text.startswith(str(home / ".cache" / "vaecore" / "code"))
    assert list(empty.iterdir()) == []
    return notebook


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def complaints(notebook):
    """Return what its cells wrote to stderr."""
    return [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


def explorers(notebook):
    """Return how many explorers it shows as HTML, which needs no kernel."""
    return sum("vae-explorer" in output.get("data", {}).get("text/html", "") for output in outputs(notebook))


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PAGES])
def test_it_runs_whole_in_colab(name, site, colab, server, tmp_path):
    """Nothing that Colab has is replaced, so no restart is needed; no cell warns; explorers are HTML."""
    notebook = nbformat.read(site / "notebooks" / f"{name}.ipynb", 4)
    if any("mnist(" in cell.source for cell in notebook.cells[1:]) and not server.has_mnist:
        remedy = "set $VAECORE_DATA to a folder that has it, or run again with network"
        pytest.fail(f"This notebook wants all of MNIST, which this machine does not have; {remedy}.", pytrace=False)
    before = installed(colab)
    ran = run(colab, notebook, tmp_path, VAECORE_MIRROR=server.address, VAECORE_WEIGHTS=f"{server.address}weights")
    pinned = {pin for pin in pins((ROOT / "requirements.txt").read_text()).split() if pin.split("==")[0] in ADDED}
    assert installed(colab) == before | pinned and len(pinned) == len(ADDED)
    assert complaints(ran) == []
    assert explorers(ran) == PAGES[name].count("Explorer(")


@pytest.mark.slow
def test_without_trained_weights_it_trains(site, colab, tmp_path):
    """As a notebook of a book that is not published does; here on the bundled digits, which takes less time."""
    notebook = nbformat.read(site / "notebooks" / "index.ipynb", 4)
    ran = run(colab, notebook, tmp_path, VAECORE_DATA=str(data.BUNDLED))
    (said,) = complaints(ran)
    assert "m1-2d" in said and explorers(ran) == 1
