"""The build never says "done" without having done it: small books with faults, built, mended and built again."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from conftest import DRIVER, ROOT, run_driver
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

HEAD = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# A page

```{chapter-facts}
```

"""
SEES = "```{code-cell} ipython3\nimport os, time\ntime.sleep(1.6)\nf\"data: {os.environ['VAECORE_DATA']}\"\n```\n"
RAISES = "```{code-cell} ipython3\n1 / 0\n```\n"
SLEEPS = "```{code-cell} ipython3\nimport time\nopen('%s', 'w').close()\ntime.sleep(60)\n```\n"

EXERCISE = """See {eq}`hint`.

```{exercise} How much?
:label: sum
What is six times seven million?
```

````{solution-start} sum
:class: dropdown
````

Multiply.

```{math}
:label: hint
6 \\cdot 7
```

```{code-cell} ipython3
6 * 7_000_000
```

````{solution-end}
````

```{math}
:label: later
x = 1
```
"""

SOLUTION = ("Multiply.", "6 \\cdot 7", "#equation-hint", "42000000")

spec = importlib.util.spec_from_file_location("build", DRIVER)
driver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driver)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A copy of the frame with a book of one page; it reads the digits that travel with vaecore."""
    monkeypatch.setenv("VAECORE_DATA", str(ROOT / "vaecore" / "digits"))
    files = ("_config.yml", "requirements.txt", "pyproject.toml", "LICENSE")
    for name in (*files, "book/_ext", "book/_assets", "vaecore"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "_toc.yml").write_text("root: index\n")
    (tmp_path / "book" / "references.bib").touch()
    return tmp_path


def write(book: Path, body: str) -> None:
    (book / "book" / "index.md").write_text(HEAD + body)


def build(book: Path, *options: str) -> subprocess.CompletedProcess:
    return run_driver("--out", book, *options, root=book)


def page(book: Path) -> str:
    return (book / "_build" / "html" / "index.html").read_text()


def files(book: Path) -> str:
    """The page, its source and its notebook: all that could give a solution away."""
    return "".join(file.read_text() for file in (book / "_build" / "html").rglob("index.*"))


def facts(book: Path) -> str:
    return re.search(r"This page ran in .*?\.<", page(book)).group()


def test_a_cell_that_raises_stops_the_build_and_the_mended_page_is_right(book):
    write(book, RAISES)
    raises = build(book)
    assert raises.returncode and "ZeroDivisionError" in raises.stdout
    write(book, SEES)
    mended = build(book)
    assert mended.returncode == 0 and "data: " in page(book), mended.stdout[-2000:]
    assert "Nothing has changed" in build(book).stdout


@pytest.mark.slow
def test_no_build_says_done_before_it_is(book, tally):
    """The life of one book, since every build costs seconds: each fault fails alone, the next build is right."""
    write(book, RAISES)
    raises = build(book)
    assert raises.returncode and "ZeroDivisionError" in raises.stdout
    write(book, SEES + EXERCISE + "\nSee {eq}`nowhere`.\n")
    for said in ("Executed notebook", "Using cached notebook"):  # nothing is wrong with the cells
        dangling = build(book)
        assert dangling.returncode and "nowhere" in dangling.stdout and said in dangling.stdout
        assert len(re.findall("WARNING", dangling.stdout)) == 1

    write(book, SEES + EXERCISE)
    mended = build(book, "--no-solutions")
    assert mended.returncode == 0 and "data: " in page(book), mended.stdout[-2000:]
    assert "Executed notebook" not in mended.stdout and not any(part in files(book) for part in SOLUTION)
    assert "six times seven" in files(book) and 'id="equation-later"' in files(book)
    assert "Nothing has changed" in build(book, "--no-solutions").stdout
    ran = facts(book)
    write(book, SEES + EXERCISE + "\nMore words.\n")
    words = build(book)
    assert words.returncode == 0 and "Executed notebook" not in words.stdout and facts(book) == ran
    assert all(part in files(book) for part in ("More words.", "six times seven", 'id="equation-later"', *SOLUTION))
    assert "Nothing has changed" in build(book).stdout

    with open(book / "vaecore" / "vae.py", "a") as source:
        source.write("# changed\n")
    kill_while_it_runs(book)
    write(book, SEES + EXERCISE)
    after = build(book)
    assert after.returncode == 0 and "data: " in page(book), after.stdout[-2000:]
    assert "Executed notebook" in after.stdout and "Using cached" not in after.stdout
    tally("broken builds", 5, 5)  # a cell, a link twice, a kill, and a second build beside the first


def kill_while_it_runs(book: Path) -> None:
    began = book / "began"
    write(book, SLEEPS % began)
    command = [sys.executable, book / DRIVER.relative_to(ROOT), "--out", book]
    running = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not began.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert began.exists()
    running.kill()  # jupyter-book lives on, and still writes its pages
    meanwhile = build(book)
    assert meanwhile.returncode and "another build" in meanwhile.stdout
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def test_pages_that_were_touched_are_noticed(tmp_path):
    (tmp_path / "index.html").write_text("whole")
    before = driver.listing(tmp_path)
    (tmp_path / "index.html").write_text("half")
    assert driver.listing(tmp_path) != before


@pytest.mark.parametrize("changed", ["a byte", "a new file", "a name"])
def test_fingerprints_see_every_change(tmp_path, changed):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "m1.safetensors").write_bytes(b"0" * 100)
    before = driver.fingerprint(folder)
    assert driver.fingerprint(folder) == before
    if changed == "a byte":
        (folder / "m1.safetensors").write_bytes(b"0" * 99 + b"1")
    elif changed == "a new file":
        (folder / "empty").touch()
    else:
        (folder / "m1.safetensors").rename(folder / "m2.safetensors")
    assert driver.fingerprint(folder) != before


def test_executions_are_dropped_when_their_key_changes(tmp_path, capsys):
    cache = tmp_path / "cache"
    for key, kept in (("one", False), ("one", True), ("two", False), ("two", True)):
        driver.keep_or_drop_executions(cache, key)
        assert (cache / "executed").exists() == kept
        (cache / "executed").mkdir(exist_ok=True)


@pytest.mark.parametrize("damage", ["database", "notebook"])
def test_a_damaged_store_of_executions_is_dropped(tmp_path, damage, tally):
    cache = tmp_path / "cache"
    driver.keep_or_drop_executions(cache, "one")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", execution_count=1)])
    record = get_cache(cache).cache_notebook_bundle(CacheBundleIn(notebook, "page.md"))
    stored = cache / "executed" / record.hashkey / "base.ipynb"
    driver.keep_or_drop_executions(cache, "one")
    assert stored.exists()
    if damage == "database":
        (cache / "global.db").write_bytes(b"not a database" * 100)
    else:  # as a kill between the entry and its file leaves it
        stored.unlink()
    driver.keep_or_drop_executions(cache, "one")
    assert sorted(path.name for path in cache.iterdir()) == ["key.json"]
    tally("broken builds", 1, 1)


def test_data_and_versions_are_part_of_the_key(book, monkeypatch):
    monkeypatch.setattr(driver, "ROOT", book)
    before = driver.execution_key(driver.machine())
    assert driver.execution_key(driver.machine()) == before
    assert driver.execution_key({**driver.machine(), "torch": "9.9"}) != before
    (book / "requirements.txt").write_text("")
    assert driver.execution_key(driver.machine()) != before
    shutil.copy(ROOT / "requirements.txt", book / "requirements.txt")
    same_name = driver.data() | {"bytes": "of other digits"}
    monkeypatch.setattr(driver, "data", lambda: same_name)
    assert driver.execution_key(driver.machine()) != before


@pytest.mark.parametrize("file", ["vaecore/vae.py", "requirements.txt", "benchmarks/results/m2-100-0.json"])
def test_pages_are_executed_again_when_what_they_read_has_changed(tmp_path, monkeypatch, file):
    monkeypatch.setattr(driver, "ROOT", tmp_path)
    before = driver.execution_key({})
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("new")
    assert driver.execution_key({}) != before
