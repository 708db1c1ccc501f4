"""Files in the format of MNIST, wherever they lie in a folder, plain or packed."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np


def find(folder: Path, file: str) -> Path | None:
    """The file of this name, such as "t10k-labels-idx1-ubyte": plain, as .gz, or by one of its other names.

    Kaggle has a dot before idx, and has each file once more in a folder of its own name.
    """
    names = (name + end for name in (file, file.replace("-idx", ".idx")) for end in ("", ".gz"))
    paths = (path for name in names for path in (folder / name, folder / name / name))
    return next(filter(Path.is_file, paths), None)


def read(path: Path, item: tuple[int, ...]) -> tuple[np.ndarray, bytes]:
    """The images (N, 784) or labels (N,), whose entries should have the shape `item`, and the unpacked contents.

    Raises ValueError, without the path, for a damaged file.
    """
    contents = _unpack(path.read_bytes())
    array = _parse(contents, 1 + len(item), item)
    if not item and (array > 9).any():
        raise ValueError(f"holds the label {array.max()}, not only 0 to 9")
    return array.reshape(len(array), math.prod(item)) if item else array, contents


def read_any(path: Path, n_dims: int) -> np.ndarray:
    """The images (N, H, W), n_dims=3, or labels (N,), n_dims=1, of any size; errors as those of `read`."""
    return _parse(_unpack(path.read_bytes()), n_dims, None)


def _unpack(contents: bytes) -> bytes:
    """What a gzip stream holds; other bytes as they are, since some servers and browsers unpack a .gz unasked."""
    if contents[:2] != b"\x1f\x8b":
        return contents
    try:
        return gzip.decompress(contents)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"is a damaged gzip file ({str(error).rstrip('.')})") from None


def _parse(contents: bytes, n_dims: int, item: tuple[int, ...] | None) -> np.ndarray:
    """The array of an idx file, (N, ...), whose entries should have the shape `item`, if it is given."""
    n_header = 4 + 4 * n_dims
    if contents[:4] != bytes((0, 0, 8, n_dims)) or len(contents) < n_header:
        raise ValueError(f"is no idx file of {'images' if n_dims > 1 else 'labels'} (it begins with {contents[:8]!r})")
    n, *shape = struct.unpack_from(f">{n_dims}I", contents, 4)
    if item is not None and tuple(shape) != item:
        raise ValueError(f"holds images of {shape[0]} x {shape[1]} pixels, not {item[0]} x {item[1]}")
    n_bytes = n_header + n * math.prod(shape)
    if len(contents) != n_bytes:
        raise ValueError(f"has {len(contents):,} bytes where its header promises {n_bytes:,}")
    # a copy, since torch wants memory that it may write to
    return np.frombuffer(contents, np.uint8, offset=n_header).reshape(n, *shape).copy()
