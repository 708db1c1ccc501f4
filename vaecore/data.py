"""MNIST and its kin as uint8 tensors on one device, shuffled batches of them, and pixels drawn to 0 or 1.

Where `mnist` looks, first that works:

1. `root`, or else `$VAECORE_DATA`: a folder in torchvision's layout, `<root>/MNIST/raw/train-images-idx3-ubyte` and
   so on, plain or .gz. What is missing or damaged there is an error; nothing else is tried in its place.
2. The user's cache, `$XDG_CACHE_HOME/vaecore` or `~/.cache/vaecore`, in the same layout, filled by download:
   from `$VAECORE_MIRROR` first (an address with the .gz files right under it, or under `MNIST/raw/` as where a
   torchvision folder is served), then from the mirrors that torchvision names.
3. For MNIST, without network: the 10,000 digits that travel with vaecore, told in one logged sentence. (The copy of
   vaecore that a notebook carries has none.)
"""

import contextlib
import gzip
import hashlib
import logging
import math
import os
import shutil
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import torch
from torch import Tensor

from .checks import check_at_least, check_device, check_labels, check_pixels, check_shape, check_values, typed

NAMES = ("MNIST", "FashionMNIST", "KMNIST")
SHA256 = {  # of the uncompressed contents
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
PACKAGED_SHA256 = {  # the same of the digits that travel with vaecore, as digits/make.py prints them
    "train-images-idx3-ubyte": "cdfead9f35f19e120323f59a9bda8394fbf89f203b751a093c2e7fa58e2b12a0",
    "train-labels-idx1-ubyte": "c7cd4e3a3138ea13e22337c332068859ada54b0ebb093d1ac066d68af16baa93",
    "t10k-images-idx3-ubyte": "33bfb133f84cf7b1e7f49b012c80f49aebb2bc3da1967a0fa6ee92306d24c8e7",
    "t10k-labels-idx1-ubyte": "d91f308093ef46de3008e32c4879223235208d605fb1fccff8ae10fe2d100594",
}
FILES = tuple(SHA256)
FULL, PACKAGED = (60_000, 10_000), (8_000, 2_000)  # how many there are to train and to test on
SHAPE = (28, 28)
TIMEOUT = 10  # seconds of silence after which a server is given up

log = logging.getLogger(__name__)


@typed
@dataclass(frozen=True, eq=False, repr=False)
class Digits:
    """Images x_train, x_test: uint8 (N, 784); their classes y_train, y_test: int64 (N,); all on one device."""

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    shape: tuple[int, int] = SHAPE

    def __post_init__(self) -> None:
        check_shape(self.shape)
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            check_pixels(x, f"x_{part}", math.prod(self.shape))
            check_labels(y, math.inf, len(x), f"y_{part}")
            for name, tensor in ((f"x_{part}", x), (f"y_{part}", y)):
                if tensor.device != self.x_train.device:
                    raise ValueError(f"{name} must be on x_train's device, {self.x_train.device}; got {tensor.device}.")

    @property
    def is_full(self) -> bool:
        """Whether these are all 60,000 training and 10,000 test images."""
        return (len(self.x_train), len(self.x_test)) == FULL

    def __repr__(self) -> str:
        n_train, n_test = len(self.x_train), len(self.x_test)
        kind = "digits" if self.name == "MNIST" else "images"
        origin = " of the 10,000 that travel with vaecore" if (n_train, n_test) == PACKAGED else ""
        return f"{self.name}: {n_train:,} training and {n_test:,} test {kind}{origin}, on {self.x_train.device}"


@typed
def mnist(name: str = "MNIST", root: str | Path | None = None, device: str | torch.device = "cpu") -> Digits:
    """MNIST, "FashionMNIST" or "KMNIST" on `device`, found as this module's docstring says.

    MNIST's files are checked against known SHA-256 sums at every load, those of the other two against torchvision's
    sums when downloaded, and at every load by header, size, labels and, where they are packed, gzip's own sum.
    ValueError: another name, a device that is not there, a damaged file. FileNotFoundError: a file not in `root`.
    ConnectionError: no download, and none that travel.
    """
    if name not in NAMES:
        raise ValueError(f"name must be that of a data set that vaecore knows, {', '.join(NAMES)}; got {name!r}.")
    check_device(device)

    if root := root or os.environ.get("VAECORE_DATA"):
        remedy = "put a good copy there, or leave out root and unset $VAECORE_DATA to have it downloaded"
        return _load(Path(root).expanduser() / name / "raw", name, device, remedy)

    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vaecore")
    folder, remedy = cache / name / "raw", "delete it and run again"
    try:
        if not all(_find(folder, file) for file in FILES):
            _download(name, cache, folder)
    except OSError as error:
        travelling = Path(__file__).parent / "digits" / name / "raw"
        if not travelling.is_dir():
            raise ConnectionError(
                f"{name} could not be downloaded ({error}); run again with network, or set $VAECORE_DATA to a folder "
                f"that holds {name}/raw"
            ) from None
        log.warning(
            f"MNIST could not be downloaded ({error}), so these are the 10,000 digits that travel with vaecore: "
            "8,000 to train on and 2,000 to test on."
        )
        folder, remedy = travelling, "install vaecore anew"
    return _load(folder, name, device, remedy)


@typed
def fingerprint(digits: Digits) -> str:
    """Sixteen hexadecimal figures that change with any byte of the images or labels."""
    total = hashlib.sha256()
    for tensor in (digits.x_train, digits.y_train, digits.x_test, digits.y_test):
        total.update(tensor.cpu().contiguous().numpy())
    return total.hexdigest()[:16]


@typed
def binarize(x: Tensor) -> Tensor:
    """uint8 pixels as float32 pixels of 0 or 1: each is 1 with probability x / 255 exactly, drawn anew at each call."""
    if x.dtype != torch.uint8:
        raise TypeError(f"x must be a uint8 Tensor of pixels from 0 to 255; got {x.dtype}.")
    check_values(x=x)
    return (x > torch.randint_like(x, 255)).float()  # of the 255 values 0 to 254, x lie below x


@typed
def batches(batch_size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """One epoch in a new random order: tuples of `batch_size` rows of each tensor, and a shorter last one."""
    check_at_least(1, batch_size=batch_size)
    sizes = [f"{len(tensor) if tensor.ndim else 'no'} rows on {tensor.device}" for tensor in tensors]
    if len(set(sizes)) != 1 or tensors[0].shape[:1] in ((), (0,)):
        raise ValueError(f"tensors must have one length and one device; got {', '.join(sizes) or 'no tensor'}.")

    def epoch() -> Iterator[tuple[Tensor, ...]]:
        order = torch.randperm(len(tensors[0]), device=tensors[0].device)
        for rows in order.split(batch_size):
            # On uint8 many times as fast as tensor[rows].
            yield tuple(tensor.index_select(0, rows) for tensor in tensors)

    return epoch()


def _load(folder: Path, name: str, device: str | torch.device, remedy: str) -> Digits:
    """The four files of `folder`, checked; an error names the file, what is wrong with it, and the `remedy`."""
    arrays: list[np.ndarray] = []
    known = [SHA256, PACKAGED_SHA256]
    for file in FILES:
        path = _find(folder, file)
        if path is None:
            raise FileNotFoundError(f"{folder / file} is missing (and so is its .gz); {remedy}")
        try:
            contents = _unpack(path.read_bytes())
            array = _parse(contents, SHAPE if "images" in file else ())
            if "labels" in file and len(array) != len(arrays[-1]):
                raise ValueError(f"holds {len(array):,} labels for {len(arrays[-1]):,} images")
            if name == "MNIST":
                # All four from one set: the packaged test digits are among the full set's training digits.
                sha256 = _sha256(contents)
                known = [sums for sums in known if sums[file] == sha256]
                if not known:
                    raise ValueError("has another checksum than MNIST's")
            elif len(array) != FULL["t10k" in file]:
                raise ValueError(f"holds {len(array):,} entries, not the {FULL['t10k' in file]:,} of {name}")
            arrays.append(array)
        except ValueError as error:
            raise ValueError(f"{path} {error}; {remedy}") from None
    x_train, y_train, x_test, y_test = (torch.from_numpy(array).to(device) for array in arrays)
    return Digits(name, x_train, y_train.long(), x_test, y_test.long())


def _find(folder: Path, file: str) -> Path | None:
    return next((path for path in (folder / file, folder / f"{file}.gz") if path.is_file()), None)


def _sha256(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def _unpack(contents: bytes) -> bytes:
    """What a gzip stream holds; other bytes as they are, since some servers and browsers unpack a .gz unasked."""
    if contents[:2] != b"\x1f\x8b":
        return contents
    try:
        return gzip.decompress(contents)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"is a damaged gzip file ({str(error).rstrip('.')})") from None


def _parse(contents: bytes, item: tuple[int, ...]) -> np.ndarray:
    """The images (N, 784) or labels (N,) of an idx file, whose entries should have the shape `item`."""
    n_dims = 1 + len(item)
    n_header = 4 + 4 * n_dims
    if contents[:4] != bytes((0, 0, 8, n_dims)) or len(contents) < n_header:
        raise ValueError(f"is no idx file of {'images' if item else 'labels'} (it begins with {contents[:8]!r})")
    n, *shape = struct.unpack_from(f">{n_dims}I", contents, 4)
    if tuple(shape) != item:
        raise ValueError(f"holds images of {shape[0]} x {shape[1]} pixels, not {item[0]} x {item[1]}")
    n_bytes = n_header + n * math.prod(item)
    if len(contents) != n_bytes:
        raise ValueError(f"has {len(contents):,} bytes where its header promises {n_bytes:,}")
    array = np.frombuffer(contents, np.uint8, offset=n_header).copy()  # torch wants memory that it may write to
    if not item and (array > 9).any():
        raise ValueError(f"holds the label {array.max()}, not only 0 to 9")
    return array.reshape(n, math.prod(item)) if item else array


def _download(name: str, cache: Path, folder: Path) -> None:
    """Fill `folder` from the first mirror that has all four files, checked; OSError, and nothing left, if none has."""
    from torchvision import datasets  # only here: importing it takes seconds

    source = getattr(datasets, name)
    own = os.environ.get("VAECORE_MIRROR", "").rstrip("/")
    mirrors = [f"{own}/", f"{own}/{name}/raw/"] if own else []
    failures = []
    cache.mkdir(parents=True, exist_ok=True)
    for left in cache.glob("unfinished-*"):  # by a process that was killed
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > 24 * 3600:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache) as work:
        for mirror in [*mirrors, *source.mirrors]:
            try:
                _fetch(mirror, source.resources, name, Path(work))
                break
            except (OSError, HTTPException, ValueError) as error:
                failures.append(f"{mirror}: {getattr(error, 'reason', error)}")
        else:
            raise ConnectionError("; ".join(failures))
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path(work).iterdir()):
            os.replace(path, folder / path.name)


def _fetch(mirror: str, resources: list[tuple[str, str]], name: str, work: Path) -> None:
    """Fetch the archives from one mirror, check them, and put what they hold into the folder `work`."""
    from tqdm.auto import tqdm  # only here: in a notebook without ipywidgets importing it warns

    for archive, md5 in resources:
        file = archive.removesuffix(".gz")
        request = Request(mirror + archive, headers={"User-Agent": "vaecore"})
        with urlopen(request, timeout=TIMEOUT) as answer:
            total = int(answer.headers.get("Content-Length") or 0) or None
            quiet = bool(os.environ.get("VAECORE_BUILD"))
            with tqdm.wrapattr(answer, "read", total, desc=archive, disable=quiet) as stream:
                packed = b"".join(iter(partial(stream.read, 1 << 16), b""))
        contents = _unpack(packed)
        if name == "MNIST":  # what counts is what is inside, for a mirror may have packed it anew
            good, path, kept = _sha256(contents) == SHA256[file], work / file, contents
        else:  # kept packed, for a gzip file has a sum of its own, which later damage breaks
            good, path, kept = hashlib.md5(packed, usedforsecurity=False).hexdigest() == md5, work / archive, packed
        if not good:
            raise ValueError(f"{archive} has another checksum than {name}'s")
        path.write_bytes(kept)
