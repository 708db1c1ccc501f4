"""Files that are whole, whatever happens while they are written."""

import contextlib
import glob
import json
import os
import secrets
import time
from pathlib import Path


def as_json(name: str, value: dict, indent: int | None = None) -> str:
    """The value, of an argument of this name, as JSON; TypeError or ValueError for what JSON does not have."""
    try:
        return json.dumps(value, indent=indent, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:  # another type, or a number that is not finite
        raise type(error)(f"{name} must hold values that JSON has; {error}.") from None


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file that appears whole or not at all; OSError, and what was there before untouched, if it cannot be."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # by a process that was killed
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 3600:  # no writer of today
                    left.unlink()
        with open(part, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        with contextlib.suppress(OSError):  # a loss of power should not undo the new name; not all systems can say so
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(error.errno, f"{path} could not be written ({reason}); what was there is untouched.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
