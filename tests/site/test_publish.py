"""What leaves the machine: the offline bundle, the addresses that pages link to, the workflows that publish."""

import http.server
import importlib.util
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bundle, links = load("bundle"), load("links")


def test_the_bundle_is_complete(site, tmp_path):
    bundle.bundle(site, tmp_path / "book.zip")
    with zipfile.ZipFile(tmp_path / "book.zip") as packed:
        assert packed.testzip() is None
        packed.extractall(tmp_path)
    unpacked = tmp_path / bundle.NAME
    files = {path.relative_to(site): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert {p.relative_to(unpacked): p.read_bytes() for p in unpacked.rglob("*") if p.is_file()} == files
    assert {path.name for path in tmp_path.iterdir()} == {"book.zip", bundle.NAME}


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def elsewhere():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def check(folder: Path, *addresses: str) -> subprocess.CompletedProcess:
    (folder / "page.html").write_text("".join(f'<a href="{address}#part">x</a>' for address in addresses))
    command = [sys.executable, ROOT / "book" / "_ext" / "links.py", folder]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_dead_addresses_are_told(tmp_path, elsewhere):
    good = check(tmp_path, f"{elsewhere}/200", f"{elsewhere}/403", "other_page.html")
    assert good.returncode == 0 and good.stdout.splitlines()[0] == f"200  {elsewhere}/200  (page.html)"
    assert len(good.stdout.splitlines()) == 2
    bad = check(tmp_path, f"{elsewhere}/200", f"{elsewhere}/404", "http://127.0.0.1:9/")
    assert bad.returncode == 1 and f"404  {elsewhere}/404" in bad.stdout
    assert "2 of 3 addresses are dead" in bad.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "addresses, said", [(["http://127.0.0.1:9/"], "needs a network"), ([], "build the book first")]
)
def test_without_a_network_one_sentence_says_so(tmp_path, addresses, said):
    done = check(tmp_path, *addresses)
    assert done.returncode == 1 and said in done.stdout and len(done.stdout.splitlines()) == 1


def test_the_book_links_to_the_papers(site):
    found = links.external(site)
    assert "references.html" in found["https://arxiv.org/abs/1312.6114"]


def faults(workflow: str) -> list[str]:
    """A workflow may do no more than it must, and names an action by its commit: a tag can be moved."""
    loose = [use for use in re.findall(r"uses: *(\S+)", workflow) if not re.search(r"@[0-9a-f]{40}$", use)]
    rights = yaml.safe_load(workflow).get("permissions")
    wide = [] if isinstance(rights, dict) and set(rights) == {"contents"} else [f"permissions: {rights}"]
    return loose + wide


def test_workflows_have_few_rights_and_pinned_actions():
    assert set(WORKFLOWS) == {"test", "publish"}
    assert {name: faults(text) for name, text in WORKFLOWS.items() if faults(text)} == {}
    assert yaml.safe_load(WORKFLOWS["test"])["permissions"] == {"contents": "read"}
    assert "make test" in WORKFLOWS["test"]
    for part in ("make book", "_build/html", "gh-pages", ".nojekyll"):
        assert part in WORKFLOWS["publish"]


@pytest.mark.parametrize(
    "workflow, fault",
    [
        ("permissions: {contents: read}\njobs: {a: {steps: [{uses: actions/x@v4.2.2 }]}}", "actions/x@v4.2.2"),
        ("permissions: write-all\njobs: {}", "permissions: write-all"),
        ("jobs: {}", "permissions: None"),
    ],
)
def test_loose_workflows_are_found(workflow, fault):
    assert faults(workflow) == [fault]
