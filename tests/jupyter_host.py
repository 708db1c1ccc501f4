"""A Jupyter server of our own, and a notebook in a real browser: JupyterLab, or the classic notebook."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import torch
from conftest import ROOT
from playwright.sync_api import Browser, Page

TOKEN = "local"
NAME = "explorers.ipynb"
SECONDS = 90  # the longest that anything here waits for

# runs code in the notebook's kernel, as one more cell would, and gives what it printed, or its error
RUN_IN_LAB = """async code => {
    const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
    const request = kernel.requestExecute({ code });
    let out = "";
    request.onIOPub = ({ content: c }) => { out += c.text ?? (c.ename ? `${c.ename}: ${c.evalue}` : ""); };
    await request.done;
    return out;
}"""
RUN_IN_CLASSIC = """code => new Promise(done => {
    let out = "";
    const output = ({ content: c }) => { out += c.text ?? (c.ename ? `${c.ename}: ${c.evalue}` : ""); };
    const status = ({ content }) => { if (content.execution_state === "idle") done(out); };
    Jupyter.notebook.kernel.execute(code, { iopub: { output, status } });
})"""
# the first cell of both hosts: an explorer whose z is followed
EXPLORER = """import ipywidgets, torch
from ipywidgets import FloatSlider, HBox, Tab, VBox
from traitlets import link
from vaecore import data
from vaecore.explorer import *
from vaecore.runs import pretrained
digits = data.mnist(root=data.BUNDLED)
model = pretrained("m1-2d", digits)
explorer, history = LatentExplorer(model, digits), []
explorer.observe(lambda change: history.append(change.new), "z")
explorer"""
# of the n-th explorer: the numbers that its sliders for z show, and its digit's pixels, white 0 and black 1
SLIDERS = """n => [...document.querySelectorAll(".vae-live")[n].querySelectorAll(".vae-sliders > div")].map(row => {
    const shown = Number(row.querySelector("output").textContent.replace("\u2212", "-"));
    return Number(row.querySelector("input").value) === shown ? shown : "moving";
})"""
PIXELS = """n => {
    const canvas = document.querySelectorAll(".vae-live")[n].querySelector("canvas.vae-digit");
    const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
    return Array.from({ length: 784 }, (_, i) => 1 - data[4 * i] / 255);
}"""
LAB = f"jupyterlab --expose-app-in-browser --ServerApp.port_retries=0 --IdentityProvider.token={TOKEN}".split()
LAB += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # all cells are there, also those below
}
CLASSIC = ("notebook", "--NotebookApp.port_retries=0", f"--NotebookApp.token={TOKEN}")


class Notebook:
    """A notebook in a page: runs code in its kernel, and keeps the page's foreign requests and errors."""

    def __init__(self, page: Page, address: str, run_code: str) -> None:
        self.page, self.address, self.run_code = page, address, run_code
        self.foreign, self.errors = [], []
        page.set_default_timeout(1000 * SECONDS)
        page.on("request", lambda request: self._on_request(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _on_request(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:", "about:")):
            self.foreign.append(url)

    def run(self, code: str) -> str:
        return self.page.evaluate(self.run_code, code).strip()

    def wait_for(self, code: str, printed: str) -> None:
        """Until `print(code)` in the kernel prints just this."""
        end = time.monotonic() + SECONDS
        while (found := self.run(f"print({code})")) != printed:
            assert time.monotonic() < end, f"{code} is {found}, never {printed}"

    def wait_until(self, condition: str, argument=None) -> None:
        """Until this expression of JavaScript, a function of the argument, holds in the page."""
        self.page.wait_for_function(condition, arg=argument)


@contextlib.contextmanager
def server(python: Path | str, folder: Path, cells: tuple[str, ...], *module_and_options: str) -> Iterator[str]:
    """A Jupyter server on a free port of this machine with a notebook of these cells; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(notebook, folder / "notebooks" / NAME)
    places = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "VAECORE_BUILD"))
    }
    environment |= places | dict(IPYTHONDIR=str(folder / "ipython"), PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    command = [str(python), "-m", *module_and_options, "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}"]
    address, log = f"http://127.0.0.1:{port}/", folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder / "notebooks", env=environment, stdout=out, stderr=out)
    try:
        end = time.monotonic() + SECONDS
        while not _answers(f"{address}api?token={TOKEN}"):
            assert process.poll() is None and time.monotonic() < end, f"Jupyter did not start:\n{log.read_text()}"
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()  # it ends its kernels too
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@contextlib.contextmanager
def in_lab(browser: Browser, folder: Path, *cells: str) -> Iterator[Notebook]:
    """A notebook of these cells, run, in a JupyterLab that knows nothing of whoever runs the tests."""
    overrides = folder / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps(LAB_SETTINGS))
    with server(sys.executable, folder, cells, *LAB) as address, high_page(browser) as page:
        notebook = Notebook(page, address, RUN_IN_LAB)
        page.goto(f"{address}lab/tree/{NAME}?token={TOKEN}")
        notebook.wait_until(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        yield notebook


@contextlib.contextmanager
def in_classic(browser: Browser, python: Path, folder: Path, *cells: str) -> Iterator[Notebook]:
    """A notebook of these cells, run, in the classic notebook of another Python."""
    with server(python, folder, cells, *CLASSIC) as address, high_page(browser) as page:
        notebook = Notebook(page, address, RUN_IN_CLASSIC)
        # its manager of widgets first asks the kernel for older ones, and spoils outputs that come meanwhile
        with page.expect_console_message(lambda said: "jupyter.widget.control" in said.text, timeout=1000 * SECONDS):
            page.goto(f"{address}notebooks/{NAME}?token={TOKEN}")
            notebook.wait_until("() => window.Jupyter?.notebook?.kernel?.is_connected()")
        notebook.run("0")
        page.evaluate("() => Jupyter.notebook.execute_all_cells()")
        yield notebook


@contextlib.contextmanager
def high_page(browser: Browser) -> Iterator[Page]:
    """A page as high as a notebook, so that all of it is shown."""
    context = browser.new_context(viewport=dict(width=1200, height=3600), reduced_motion="reduce")
    yield context.new_page()
    context.close()


def wait_for_sliders(notebook, n: int, z: list[float]) -> None:
    """Until the n-th explorer's sliders and the numbers next to them say z; its digit is painted in the same frame."""
    notebook.wait_until(f"([n, z]) => String(({SLIDERS})(n)) === String(z)", [n, z])


def press(notebook, n: int, key: str, times: int, slider: int = 0) -> None:
    notebook.page.locator(".vae-live").nth(n).locator(".vae-sliders input").nth(slider).focus()
    for _ in range(times):
        notebook.page.keyboard.press(key)


def pixels(notebook, n: int) -> torch.Tensor:
    return torch.tensor(notebook.page.evaluate(PIXELS, n))
