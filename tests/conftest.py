"""What several test files share: the book built cold, a browser, and the two ways by which readers open a page."""

import functools
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from jaxtyping import install_import_hook
from playwright.sync_api import sync_playwright
from site_pages import DRIVER

from benchmarks import chromium

install_import_hook("vaecore", "typechecker.check")  # before anything imports vaecore
ROOT = Path(__file__).parents[1]
COLD = ROOT / "_build" / "test"


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


def pytest_collection_modifyitems(config, items: list) -> None:
    """Put the tests of the built book last: it is built while the others run."""
    if config.option.site:
        items[:] = [item for item in items if "cold_build" not in item.fixturenames]
    items.sort(key=needs_build)


def needs_build(item) -> bool:
    return bool({"cold_build", "site"} & set(item.fixturenames))


@pytest.fixture(scope="session", autouse=True)
def building(request, tmp_path_factory):
    """The build from nothing, at the same time as the tests that need no pages; every warning is an error."""
    if request.config.option.site or not any(map(needs_build, request.session.items)):
        yield None
        return
    shutil.rmtree(COLD, ignore_errors=True)
    with open(tmp_path_factory.mktemp("build") / "log", "w+", encoding="utf-8") as log:
        command = ["nice", *DRIVER, "--out", COLD]  # so that the tests which time something are not disturbed
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        yield process, log
        if process.poll() is None:  # a run that stops early stops the build, and the kernels below it
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.fixture(scope="session")
def cold_build(building) -> subprocess.CompletedProcess:
    """The finished build from nothing."""
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


@pytest.fixture
def colab() -> Path:
    """Return the Python of an environment with what Colab has, at Colab's versions, and nothing of the book."""
    folder, uv = ROOT / "_build" / "colab", Path(sys.executable).with_name("uv")
    python = folder / "bin" / "python"
    if not python.exists():
        asking = os.environ | {"PYENV_VERSION": "3.13"}  # pyenv's python3.13 runs only if it is chosen
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", "3.13", folder], env=asking, check=True)
    lock = ROOT / "tests" / "colab.txt"  # `sync` removes what a test before has added
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock], check=True)
    return python


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def served(site):
    """The address of a web server on this machine that shows the pages."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session", params=["http", "file"])
def address(request, site):
    """The address of the pages, from a web server and from a disk."""
    return request.getfixturevalue("served") if request.param == "http" else site.as_uri() + "/"


@pytest.fixture(scope="session")
def made_explorers(digits) -> dict:
    from explorer_pages import MAKERS

    return {name: make(digits) for name, make in MAKERS.items()}


@pytest.fixture(scope="session")
def fragments(made_explorers) -> dict[str, str]:
    """The fragment of each kind of explorer, as a page would have it at first."""
    return {name: explorer.fragment() for name, explorer in made_explorers.items()}


@pytest.fixture(scope="session")
def explorers(made_explorers, fragments) -> dict:
    """One explorer of each kind. Tests set their values, and rely on none that were there."""
    return made_explorers


@pytest.fixture
def explorer_page(browser, tmp_path):
    """Opens fragments in a page of their own."""
    from explorer_pages import open_page

    pages = []

    def open_(*fragments: str, theme: str = "light", **options):
        pages.append(browser.new_page(**options))
        return open_page(pages[-1], tmp_path / f"explorers-{len(pages)}.html", *fragments, theme=theme)

    yield open_
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def shared_page(browser, fragments, tmp_path_factory):
    """Gives the page of one kind of explorer, opened once, with the values that it had at first."""
    from explorer_pages import RESET, START, open_page

    folder, pages, starts = tmp_path_factory.mktemp("explorers"), {}, {}

    def page_of(kind: str):
        if kind not in pages:
            pages[kind] = open_page(browser.new_page(), folder / f"{len(pages)}.html", fragments[kind])
            starts[kind] = pages[kind].evaluate(START)
        pages[kind].evaluate(RESET, starts[kind])
        return pages[kind]

    yield page_of
    for page in pages.values():
        page.close()


@pytest.fixture(scope="session")
def page_functions(browser):
    """A page that has imported every module of the explorers: what they export is `js.NAME`."""
    from explorer_pages import MODULES

    page = browser.new_page()
    page.route("http://modules.test/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.route("http://modules.test/*.js", lambda route: route.fulfill(path=MODULES / route.request.url.split("/")[-1]))
    page.goto("http://modules.test/")
    page.evaluate(
        """async names => {
            const modules = await Promise.all(names.map(name => import(`http://modules.test/${name}`)));
            globalThis.js = Object.assign({}, ...modules);
        }""",
        [path.name for path in MODULES.glob("*.js")],
    )
    yield page
    page.close()
