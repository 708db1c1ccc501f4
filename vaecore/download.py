"""Files from the network, kept in the user's cache: downloaded by pooch, checked against a hash, never half-written."""

import contextlib
import functools
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import pooch

TIMEOUT = 10  # seconds of silence after which a server is given up


log = logging.getLogger(__name__)


def cache_folder(*parts: str) -> Path:
    """The folder or file of this name in `$XDG_CACHE_HOME/vaecore`, `~/.cache/vaecore` or a temporary folder.

    The first of these where it exists or can be made. A relative place is passed over: it would be another one in every
    working folder.
    """
    places = map(os.path.expanduser, (os.environ.get("XDG_CACHE_HOME", ""), "~/.cache"))
    for place in filter(os.path.isabs, places):
        path = Path(place, "vaecore", *parts)
        if os.path.exists(path) or _can_be_written(Path(place, "vaecore")):
            return path
    return Path(_temporary_place(), "vaecore", *parts)


def _can_be_written(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK)


@functools.cache
def _temporary_place() -> str:
    place = tempfile.mkdtemp(prefix="vaecore-")
    log.warning(
        f"Neither $XDG_CACHE_HOME nor ~/.cache is a folder that can be written, so downloads and runs are kept in "
        f"{place}; set $XDG_CACHE_HOME to a folder where the next session should find them."
    )
    return place


def fetch(address: str, known_hash: str | None, path: Path) -> Path:
    """Return the path, downloaded if it is not there with this hash ("sha256:..." or "md5:..."; None for any contents).

    Raises OSError if the server does not answer, ValueError if it sends something else.
    """
    downloader: Any = pooch.HTTPDownloader(
        progressbar=not os.environ.get("VAECORE_BUILD"), timeout=TIMEOUT, headers={"User-Agent": "vaecore"}
    )
    store = pooch.create(
        path.parent, base_url="", registry={path.name: known_hash}, urls={path.name: address}, retry_if_failed=1
    )
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # not a line for every file
    try:
        fetched = Path(store.fetch(path.name, downloader=downloader))
    finally:
        logger.setLevel(level)
    with contextlib.suppress(OSError):
        fetched.chmod(0o644)  # others may share this cache, and pooch's files are for their owner alone
    return fetched
