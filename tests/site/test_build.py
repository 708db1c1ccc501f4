"""The build never says "done" without having done it: small books with faults, built, mended and built again."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from site_pages import DRIVER, ROOT, run_driver

from tools import build as driver

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


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A copy of the project with a book of one page, in a folder with a difficult name; it reads the bundled digits."""
    root = tmp_path / "a b 本 #1 100%"
    root.mkdir()
    monkeypatch.setenv("VAECORE_DATA", str(ROOT / "vaecore" / "digits"))
    files = ("_config.yml", "requirements.txt", "pyproject.toml", "LICENSE")
    for name in (*files, "book/_ext", "book/_assets", "tools", "vaecore"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (root / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, root / name)
    (root / "_toc.yml").write_text("root: index\n")
    (root / "book" / "references.bib").touch()
    return root


def write(book: Path, body: str) -> None:
    (book / "book" / "index.md").write_text(HEAD + body)


def build(book: Path, *options: str) -> subprocess.CompletedProcess:
    return run_driver("--out", book, *options, root=book)


def ran(built: subprocess.CompletedProcess) -> bool:
    return "index.md ran in " in built.stdout


def files(book: Path) -> str:
    """Return the page, its source and its notebooks: all that could give a solution away."""
    return "".join(file.read_text() for file in (book / "_build" / "html").rglob("index*.*"))


def notebooks(book: Path) -> list[str]:
    return sorted(path.name for path in (book / "_build" / "html" / "notebooks").iterdir())


def test_a_cell_that_raises_stops_the_build_and_the_mended_page_is_right(book):
    write(book, RAISES)
    raises = build(book)
    assert raises.returncode and "ZeroDivisionError" in raises.stdout
    write(book, SEES)
    mended = build(book)
    assert mended.returncode == 0 and "data: " in files(book), mended.stdout[-2000:]
    assert "Nothing has changed" in build(book).stdout


@pytest.mark.slow
def test_no_build_says_done_before_it_is(book, tally):
    """The life of one book, since every build costs seconds: each fault fails alone, the next build is right."""
    write(book, SEES + EXERCISE + "\nSee {eq}`nowhere`.\n")
    for first in (True, False):  # nothing is wrong with the cells
        dangling = build(book)
        assert dangling.returncode and "nowhere" in dangling.stdout and ran(dangling) == first
        assert len(re.findall("WARNING", dangling.stdout)) == 1

    write(book, SEES + EXERCISE)
    mended = build(book, "--no-solutions")
    assert mended.returncode == 0 and not ran(mended), mended.stdout[-2000:]
    assert not any(part in files(book) for part in SOLUTION)
    assert all(part in files(book) for part in ("data: ", "six times seven", 'id="equation-later"'))
    assert notebooks(book) == ["index_to_work.ipynb"]
    write(book, SEES + EXERCISE + "\nMore words.\n")
    words = build(book)
    assert words.returncode == 0 and not ran(words)
    assert all(part in files(book) for part in ("More words.", "six times seven", 'id="equation-later"', *SOLUTION))
    assert notebooks(book) == ["index.ipynb", "index_to_work.ipynb"]

    with open(book / "vaecore" / "vae.py", "a") as source:
        source.write("# changed\n")
    kill_while_it_runs(book)
    write(book, SEES + EXERCISE)
    after = build(book)
    assert after.returncode == 0 and "data: " in files(book) and ran(after), after.stdout[-2000:]
    tally("broken builds", 4, 4)  # a link twice, a kill, and a second build at the same time


def kill_while_it_runs(book: Path) -> None:
    began = book / "began"
    write(book, SLEEPS % began)
    command = [*DRIVER, "--out", book]
    streams = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running = subprocess.Popen(command, cwd=book, start_new_session=True, **streams)
    deadline = time.monotonic() + 120
    while not began.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert began.exists()
    running.kill()  # the chapter runs on, and is still to be stored
    meanwhile = build(book)
    assert meanwhile.returncode and "another build" in meanwhile.stdout
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def test_fingerprints_and_listings_see_every_change(tmp_path):
    file, hashes = tmp_path / "m1.safetensors", []
    for change in (
        lambda: file.write_bytes(b"0" * 100),
        lambda: file.write_bytes(b"0" * 99 + b"1"),
        lambda: (tmp_path / "empty").touch(),
        lambda: file.rename(tmp_path / "m2.safetensors"),
    ):
        change()
        hashes.append((driver.fingerprint(tmp_path), driver.listing(tmp_path)))
        assert hashes[-1] == (driver.fingerprint(tmp_path), driver.listing(tmp_path))
    assert all(len(set(column)) == 4 for column in zip(*hashes, strict=True))


@pytest.mark.parametrize("damage", ["another key", "database", "notebook"])
def test_executions_that_no_longer_fit_are_dropped(tmp_path, damage, tally):
    cache = tmp_path / "cache"
    driver.keep_or_drop_executions(cache, "one")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", execution_count=1)])
    record = get_cache(cache).cache_notebook_bundle(CacheBundleIn(notebook, "page.md"))
    stored = cache / "executed" / record.hashkey / "base.ipynb"
    driver.keep_or_drop_executions(cache, "one")
    assert stored.exists()
    if damage == "database":
        (cache / "global.db").write_bytes(b"not a database" * 100)
    elif damage == "notebook":  # as a kill between the entry and its file leaves it
        stored.unlink()
    driver.keep_or_drop_executions(cache, "two" if damage == "another key" else "one")
    assert sorted(path.name for path in cache.iterdir()) == ["key.json"]
    tally("broken builds", 1, 1)


@pytest.mark.parametrize("file", ["vaecore/vae.py", "requirements.txt", "vaecore/results/m2-100-0.json"])
def test_what_chapters_read_is_part_of_the_key(tmp_path, monkeypatch, file):
    monkeypatch.setattr(driver, "ROOT", tmp_path)
    before = driver.execution_key({"bytes": "of the digits"})
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("new")
    assert driver.execution_key({"bytes": "of the digits"}) != before != driver.execution_key({"bytes": "of others"})
