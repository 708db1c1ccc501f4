"""Firefox and WebKitGTK, each driven over WebDriver, and a server that refuses and notes all but its own pages.

Both browsers take the same actions; Firefox itself speaks WebDriver BiDi, WebKit the classic protocol to its driver.
"""

import base64
import functools
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import websocket

SECONDS = 120  # that a browser has for a start or an answer
NO_TOOLBAR = "* { min-width: 0; padding: 0; margin: 0; border: 0; font-size: 1px; -gtk-icon-transform: scale(0); }"
ANSWER = "Promise.resolve().then({}).then(found => JSON.stringify(found ?? null))"


class Firefox:
    """A window of a headless Firefox."""

    pointers = ("mouse", "touch")  # its WebDriver has no pen yet

    @staticmethod
    def missing() -> str:
        return "" if firefox() else "no firefox-esr and no firefox"

    def __init__(self, folder: Path, proxy: str):
        command = [firefox(), "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port", "0"]
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        address = until(lambda: re.search(r"BiDi listening on (\S+)", (folder / "log").read_text()))[1]
        self.socket = websocket.create_connection(f"{address}/session", suppress_origin=True, timeout=SECONDS)
        self.strangers = []  # others that the page has asked; the proxy would note also what Firefox asks for itself
        self.call("session.new", capabilities={})
        new = self.call("browsingContext.create", type="tab")  # in the first tab, the address has the focus
        self.context = new["context"]
        self.call("session.subscribe", events=["network.beforeRequestSent"], contexts=[self.context])

    def call(self, method: str, **parameters) -> dict:
        self.socket.send(json.dumps(dict(id=1, method=method, params=parameters)))
        while (answer := json.loads(self.socket.recv()))["type"] == "event":
            url = answer["params"]["request"]["url"]
            self.strangers += [url] if re.match(r"https?://(?!127\.0\.0\.1)", url) else []
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return answer["result"]

    def open(self, url: str) -> None:
        self.strangers = []
        self.call("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def resize(self, width: int, height: int) -> None:
        self.call("browsingContext.setViewport", context=self.context, viewport=dict(width=width, height=height))

    def evaluate(self, function: str):
        """Return what a function of JavaScript, or its promise, comes to."""
        target, expression = dict(context=self.context), ANSWER.format(function)
        found = self.call("script.evaluate", expression=expression, target=target, awaitPromise=True)
        if found["type"] == "exception":
            raise RuntimeError(found["exceptionDetails"]["text"])
        return json.loads(found["result"]["value"])

    def act(self, *sources: dict) -> None:
        self.call("input.performActions", context=self.context, actions=sources)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("browsingContext.captureScreenshot", context=self.context)["data"])

    def close(self) -> None:
        self.call("browser.close")
        self.process.wait(SECONDS)
        self.socket.close()


class WebKit:
    """A window of WebKitGTK's MiniBrowser, on a display that nobody sees."""

    pointers = ("mouse", "pen")  # its WebDriver takes a finger for a mouse
    strangers = ()  # the proxy has them

    @staticmethod
    def missing() -> str:
        return " and ".join(f"no {name}" for name in ("WebKitWebDriver", "Xvfb") if not shutil.which(name))

    def __init__(self, folder: Path, proxy: str):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        read, write = os.pipe()
        options = ["-displayfd", str(write), "-screen", "0", "1600x1200x24", "-nolisten", "tcp"]
        self.display = subprocess.Popen(["Xvfb", *options], pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as number:
            display = f":{number.readline().strip()}"
        (folder / ".config/gtk-3.0").mkdir(parents=True)
        (folder / ".config/gtk-3.0/gtk.css").write_text(NO_TOOLBAR)
        environment = os.environ | dict(DISPLAY=display, HOME=str(folder))
        self.driver = subprocess.Popen(["WebKitWebDriver", f"--port={port}"], env=environment)
        self.address, self.session = f"http://127.0.0.1:{port}/session", ""
        until(lambda: socket.create_connection(("127.0.0.1", port)).close() or True)
        options = ["--automation", f"--proxy=http://{proxy}", "--ignore-host=127.0.0.1"]
        wanted = {"webkitgtk:browserOptions": dict(args=options)}
        wanted["timeouts"] = dict(script=1000 * SECONDS)
        self.session = "/" + self.call("", capabilities=dict(alwaysMatch=wanted))["sessionId"]

    def call(self, command: str, method: str = "POST", **parameters):
        body = json.dumps(parameters).encode() if method == "POST" else None
        request = urllib.request.Request(self.address + self.session + command, method=method, data=body)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{command}: {json.load(error)['value']['message']}") from error

    def open(self, url: str) -> None:
        self.call("/url", url=url)

    def resize(self, width: int, height: int) -> None:
        self.call("/window/rect", width=width, height=height)

    def evaluate(self, function: str):
        """Return what a function of JavaScript, or its promise, comes to."""
        script = f"{ANSWER.format(function)}.then(arguments[0], error => arguments[0]({{ error: String(error) }}))"
        found = self.call("/execute/async", script=script, args=[])
        if isinstance(found, dict):
            raise RuntimeError(found["error"])
        return json.loads(found)

    def act(self, *sources: dict) -> None:
        self.call("/actions", actions=sources)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("/screenshot", method="GET"))

    def close(self) -> None:
        self.call("", method="DELETE")
        for process in (self.driver, self.display):
            process.terminate()
            process.wait(SECONDS)


def firefox() -> str | None:
    return shutil.which("firefox-esr") or shutil.which("firefox")


def until(find):
    """Return what `find` finds; wait for it while it finds nothing or fails."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if found := find():
                return found
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"nothing after {SECONDS} s")


@contextmanager
def noting_server(folder: Path):
    """Serve a folder; as a proxy, refuse every other address. Yield where it listens, and what it has refused."""
    refused = []

    class Noting(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def send_error(self, code, *args):
            refused.append(f"{code}: {self.requestline}")
            super().send_error(code, *args)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Noting, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", refused
    server.shutdown()
    server.server_close()
