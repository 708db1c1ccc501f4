"""Files from the network, kept in the user's cache: downloaded by pooch, checked against a hash, never half-written."""

import os
from pathlib import Path
from typing import Any

import pooch

TIMEOUT = 10  # seconds of silence after which a server is given up


def cache_folder(*parts: str) -> Path:
    """`$XDG_CACHE_HOME/vaecore` or `~/.cache/vaecore`, or a folder within it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vaecore", *parts)


def fetch(address: str, known_hash: str | None, path: Path) -> Path:
    """Return the path, downloaded if it is not there with this hash ("sha256:..." or "md5:..."; None for any contents).

    Raises OSError if the server does not answer, ValueError if it sends something else.
    """
    pooch.get_logger().setLevel("WARNING")  # not a line for every file
    downloader: Any = pooch.HTTPDownloader(
        progressbar=not os.environ.get("VAECORE_BUILD"), timeout=TIMEOUT, headers={"User-Agent": "vaecore"}
    )
    store = pooch.create(
        path.parent, base_url="", registry={path.name: known_hash}, urls={path.name: address}, retry_if_failed=1
    )
    return Path(store.fetch(path.name, downloader=downloader))
