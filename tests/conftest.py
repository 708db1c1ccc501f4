"""What several test files share: the book built cold, a browser, and the two ways by which readers open a page."""

import functools
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from jaxtyping import install_import_hook
from playwright.sync_api import sync_playwright

from benchmarks import chromium

install_import_hook("vaecore", "typechecker.check")  # before anything imports vaecore
ROOT = Path(__file__).parents[1]
COLD = ROOT / "_build" / "test"
DRIVER = [sys.executable, "-m", "tools.build"]


def run_driver(*arguments: object, root: Path = ROOT) -> subprocess.CompletedProcess:
    """Run the build; with another `root`, that of a copy of the project."""
    command = [*DRIVER, *map(str, arguments)]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def pytest_addoption(parser) -> None:
    parser.addoption("--record", metavar="FILE", help="write what the tests tried, and how much of it held, as JSON")
    parser.addoption("--site", metavar="FOLDER", type=Path, help="test these built pages; build none")


TALLY = pytest.StashKey[dict]()


@pytest.fixture(scope="session")
def tally(request):
    """tally("training killed", 30, 30) adds to what a run tried under that name, and to how much of it held."""
    found = request.config.stash.setdefault(TALLY, {})

    def add(what: str, tried: int, held: int) -> None:
        before = found.setdefault(what, dict(tried=0, held=0))
        before["tried"] += tried
        before["held"] += held

    return add


def pytest_sessionfinish(session, exitstatus) -> None:
    """A run in which all passed leaves its figures, if it was asked to."""
    path = session.config.getoption("record")
    if path and exitstatus == 0:
        from vaecore import checkpoints, records

        figures = dict(tests=session.testscollected, tally=session.config.stash.get(TALLY, {}))
        records.write(Path(path), figures | checkpoints.provenance())


@pytest.fixture(scope="session")
def digits():
    """The 10,000 digits that are bundled with vaecore, so that these tests need no data set."""
    from vaecore import data

    return data.mnist(root=data.BUNDLED)


@pytest.fixture(scope="session")
def flat(digits):
    """The book's VAE of two latents."""
    from vaecore.runs import pretrained

    return pretrained("m1-2d", digits)


@pytest.fixture(scope="session")
def decoded(flat):
    """What its decoder makes of z, by PyTorch: 784 numbers."""
    import torch

    return lambda *z: flat.decode(torch.tensor([z])).mean[0].detach()


def pytest_collection_modifyitems(items: list) -> None:
    """What looks at the built book comes last: the book is built beside the other tests."""
    items.sort(key=lambda item: bool(needs_build(item)))


def needs_build(item) -> bool:
    return {"cold_build", "site"} & set(item.fixturenames)


@pytest.fixture(scope="session", autouse=True)
def building(request, tmp_path_factory):
    """The build from nothing, into a folder of its own: all chapters executed, every warning an error."""
    if request.config.option.site or not any(map(needs_build, request.session.items)):
        yield None
        return
    shutil.rmtree(COLD, ignore_errors=True)
    with open(tmp_path_factory.mktemp("build") / "log", "w+", encoding="utf-8") as log:
        command = [*DRIVER, "--out", COLD]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        yield process, log
        if process.poll() is None:  # a run that stops early stops the build, and the kernels below it
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.fixture(scope="session")
def cold_build(building) -> subprocess.CompletedProcess:
    """That build, when it has ended."""
    process, log = building
    process.wait()
    log.seek(0)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout=log.read())


@pytest.fixture(scope="session")
def site(request) -> Path:
    """Return the folder of the built pages."""
    if request.config.option.site:
        return request.config.option.site.absolute()
    if request.getfixturevalue("cold_build").returncode:
        pytest.fail("the book does not build; test_the_book_builds shows why", pytrace=False)
    return COLD / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def served(site):
    """The address under which a web server on this machine shows the pages."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session", params=["http", "file"])
def address(request, site):
    """Both ways to read: from a web server and from a disk."""
    return request.getfixturevalue("served") if request.param == "http" else site.as_uri() + "/"


@pytest.fixture(scope="session")
def fragments(digits) -> dict[str, str]:
    """The fragment of each kind of explorer, as a page would have it."""
    from explorer_pages import MAKERS

    return {name: make(digits).fragment() for name, make in MAKERS.items()}


@pytest.fixture
def explorer_page(browser, tmp_path):
    """Opens fragments as one file of a disk, scrolls through it, and waits until all of them have come to life."""
    from explorer_pages import page_of

    pages = []

    def open_(*fragments: str, theme: str = "light", **options):
        path = tmp_path / f"explorers-{len(pages)}.html"
        path.write_text(page_of(*fragments, theme=theme), encoding="utf-8")
        page = browser.new_page(**options)
        pages.append(page)
        page.goto(path.as_uri())
        for box in page.locator(".vae-explorer").all():
            box.scroll_into_view_if_needed()
        page.wait_for_function("[...document.querySelectorAll('.vae-explorer')].every(e => e.matches('.vae-alive'))")
        return page

    yield open_
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def page_functions(browser):
    """A page in which the functions of the explorers' module are to be called, as `js.NAME`."""
    from vaecore.explorer import base

    page = browser.new_page()
    names = ", ".join(sorted(set(re.findall(r"^(?:async )?function (\w+)", base.JAVASCRIPT, re.MULTILINE))))
    page.set_content("<!doctype html><html lang='en'><title>Functions</title><body>")
    page.add_script_tag(type="module", content=f"{base.JAVASCRIPT}\nglobalThis.js = {{ {names} }};")
    page.wait_for_function("globalThis.js")
    yield page
    page.close()
