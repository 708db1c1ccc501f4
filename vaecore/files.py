"""Files that appear whole or not at all."""

import contextlib
import glob
import json
import os
import secrets
import time
from pathlib import Path

STALE = 3600  # seconds after which an unfinished file belongs to a process that was killed


def as_json(name: str, value: dict, indent: int | None = None) -> str:
    """The value of the argument of this name as JSON; raises TypeError or ValueError for what JSON cannot hold."""
    try:
        return json.dumps(value, indent=indent, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:  # another type, or a number that is not finite
        raise type(error)(f"{name} must hold values that JSON has; {error}.") from None


def contents_of(folder: Path) -> str:
    """What lies in a folder, in words, for the message that a file is missing."""
    try:
        names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror})"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{folder} holds {', '.join(names[:8]) or 'nothing'}{more}"


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file by way of a temporary one next to it; raises OSError, the old file untouched, if that fails."""
    path = Path(os.path.realpath(path))  # a link stays, and what it points to is written
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE:
                    left.unlink()
        with open(part, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(error.errno, f"{path} could not be written ({reason}); what was there is untouched.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
