"""A Chromium for tests and benchmarks: the one on PATH, else Playwright's own, else the system's package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MEND = "no Chromium for the browser tests; this gets one:  .venv/bin/python -m playwright install --with-deps chromium"
ARGUMENTS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # a page that asks the network gets nothing
]


def launch(playwright: Playwright) -> Browser:
    """A headless Chromium; RuntimeError with the one command that mends it where there is none."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*ARGUMENTS, "--no-sandbox"] if root else ARGUMENTS
    reasons = []
    for find in (on_path, playwrights_own, system_package if root else nothing):
        path = find(playwright)
        if path is None:
            continue
        try:
            return playwright.chromium.launch(executable_path=path, args=arguments)
        except Exception as error:  # there, but not able to run: a library is missing, a snap in a container
            reasons.append(f"{path}: {str(error).splitlines()[0]}")
    raise RuntimeError("\n".join([MEND, *reasons]))


def on_path(_: Playwright) -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def playwrights_own(playwright: Playwright) -> str | None:
    path = playwright.chromium.executable_path
    if not Path(path).exists():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])
    return path if Path(path).exists() else None


def system_package(playwright: Playwright) -> str | None:
    if shutil.which("apt-get"):
        subprocess.run(["apt-get", "update"])
        subprocess.run(["apt-get", "install", "-y", "chromium"])
    return on_path(playwright)


def nothing(_: Playwright) -> None:
    return None
