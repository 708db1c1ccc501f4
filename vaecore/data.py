"""MNIST and its kin as uint8 tensors on one device, shuffled batches of them, and pixels drawn to 0 or 1.

Where `mnist` looks, first that works:

1. `root`, or else `$VAECORE_DATA`: a folder in torchvision's layout, `<root>/MNIST/raw/train-images-idx3-ubyte` and
   so on, plain or .gz. MNIST itself, which is known by its checksums, may also lie in `<root>/MNIST`, `<root>/raw` or
   `root`. A file missing or damaged there is an error; nothing else is tried instead.
2. The user's cache, `$XDG_CACHE_HOME/vaecore` or `~/.cache/vaecore`, in the same layout, filled by download:
   from `$VAECORE_MIRROR` first (an address with the .gz files right under it, or under `MNIST/raw/` as where a
   torchvision folder is served), then from the public mirrors.
3. For MNIST, without network: the 10,000 digits bundled with vaecore, with one logged sentence. (The copy of vaecore
   that a notebook carries has none.)
"""

import hashlib
import logging
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from . import idx
from .checks import check_at_least, check_classes, warn_of_few_greys
from .download import cache_folder, fetch
from .files import contents_of

NAMES = ("MNIST", "FashionMNIST", "KMNIST")
SHA256 = {  # of the uncompressed contents
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
BUNDLED_SHA256 = {  # the same of the bundled digits, as digits/make.py prints them
    "train-images-idx3-ubyte": "cdfead9f35f19e120323f59a9bda8394fbf89f203b751a093c2e7fa58e2b12a0",
    "train-labels-idx1-ubyte": "c7cd4e3a3138ea13e22337c332068859ada54b0ebb093d1ac066d68af16baa93",
    "t10k-images-idx3-ubyte": "33bfb133f84cf7b1e7f49b012c80f49aebb2bc3da1967a0fa6ee92306d24c8e7",
    "t10k-labels-idx1-ubyte": "d91f308093ef46de3008e32c4879223235208d605fb1fccff8ae10fe2d100594",
}
MNIST_ITSELF = ("1e35582d42a90940", "9badcc18eda5b0f8")  # the fingerprints of both
FILES = tuple(SHA256)
MIRRORS = {  # as torchvision names them, with the MD5 of each .gz in the order of FILES
    "MNIST": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    "FashionMNIST": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    "KMNIST": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
}
MD5 = {
    "MNIST": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "FashionMNIST": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "KMNIST": (
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
}
BUNDLED = Path(__file__).parent / "digits"  # the root of the bundled digits
SIZES = (60_000, 10_000)  # how many there are to train and to test on
SHAPE = (28, 28)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class Pictures:
    """Images, uint8 from 0 to 255, and their classes (N,), int64, to train and to test on; all on one device.

    `shape` is (H, W) or, in colour, (3, H, W); `classes` are their names, if they have any. `origin` says where they
    are from, if that matters. Raises ValueError if no pixel is above 127: not a range to 255.
    """

    name: str
    x_train: UInt8[Tensor, "N D"]
    y_train: Shaped[Tensor, "N *_"]
    x_test: UInt8[Tensor, "M D"]
    y_test: Shaped[Tensor, "M *_"]
    shape: tuple[int, ...] = SHAPE
    origin: str = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            check_classes(y, math.inf, f"y_{part}")
            if len(x) != len(y) or x.shape[1:] != (math.prod(self.shape),):
                wanted = f"({len(y)}, {math.prod(self.shape)}), for the classes and the shape"
                raise ValueError(f"x_{part} must have shape {wanted} given; got {tuple(x.shape)}.")
            if 0 < (top := int(x.max()) if len(x) else 0) < 128:
                raise ValueError(
                    f"x_{part} must hold grey values from 0 to 255; the largest is {top}: scale them first."
                )

    @property
    def is_full(self) -> bool:
        """Whether these are all 60,000 training and 10,000 test images."""
        return (len(self.x_train), len(self.x_test)) == SIZES

    def describe(self) -> str:
        """Name, sizes and origin."""
        kind = "digits" if self.name == "MNIST" else "images"
        return f"{self.name}: {len(self.x_train):,} training and {len(self.x_test):,} test {kind}{self.origin}"

    def __repr__(self) -> str:
        first, *notes = self.describe().splitlines()
        return "\n".join([f"{first}, on {self.x_train.device}", *notes])


def mnist(name: str = "MNIST", root: str | Path | None = None, device: str | torch.device = "cpu") -> Pictures:
    """MNIST, "FashionMNIST" or "KMNIST" on `device`, found as this module's docstring says.

    MNIST's files are checked against known SHA-256 sums at every load, those of the other two against MD5 sums when
    downloaded, and at every load by header, size, labels and, where they are packed, gzip's own sum.
    ValueError: another name, a damaged file. FileNotFoundError: a file missing from `root`. ConnectionError: no
    download, and none bundled.
    """
    if name not in MIRRORS:
        raise ValueError(f"name must be one of {', '.join(MIRRORS)}; got {name!r}.")
    if root := root or os.environ.get("VAECORE_DATA"):
        root = Path(os.path.expanduser(root)).absolute()
        places = [root / name / "raw", root / name, root / "raw", root]
        found = (place for place in places if name == "MNIST" and idx.find(place, FILES[0]))
        folder = next(found, places[0])
        remedy = "put a good copy there, or leave out root and unset $VAECORE_DATA to have it downloaded"
        return _load(folder, name, device, remedy)
    folder = cache_folder(name, "raw")
    try:
        if not all(idx.find(folder, file) for file in FILES):
            _download(name, folder)
    except ConnectionError as error:
        if name != "MNIST" or not BUNDLED.is_dir():
            raise ConnectionError(
                f"{name} could not be downloaded ({error}); run again with network, or set $VAECORE_DATA to a folder "
                f"that holds {name}/raw"
            ) from None
        log.warning(
            f"MNIST could not be downloaded ({error}), so these are the 10,000 digits bundled with vaecore: "
            "8,000 to train on and 2,000 to test on."
        )
        return _load(BUNDLED / name / "raw", name, device, "install vaecore again")
    return _load(folder, name, device, "move it away and run again, to have it downloaded")


def fingerprint(digits: Pictures) -> str:
    """Sixteen hexadecimal figures that change with any byte of the images or labels."""
    total = hashlib.sha256()
    for tensor in (digits.x_train, digits.y_train, digits.x_test, digits.y_test):
        total.update(tensor.cpu().contiguous().numpy().data)
    return total.hexdigest()[:16]


def binarize(x: Shaped[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """uint8 pixels as floats of 0 or 1: each is 1 with probability x / 255 exactly, drawn again at each call."""
    if x.dtype != torch.uint8:  # pixels in [0, 1] would all become 1 or 0
        raise TypeError(f"x must be a uint8 Tensor of pixels from 0 to 255; got {x.dtype}.")
    warn_of_few_greys(x)
    return (x > torch.randint_like(x, 255)).float()  # of the 255 values 0 to 254, x lie below x


def batches(batch_size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """One epoch in a new random order: tuples of `batch_size` rows of each tensor, and a shorter last one."""
    check_at_least(1, batch_size=batch_size)
    if len({len(tensor) for tensor in tensors}) != 1:
        raise ValueError(f"tensors must have one length; got {', '.join(str(len(t)) for t in tensors) or 'no tensor'}.")
    order = torch.randperm(len(tensors[0]), device=tensors[0].device)
    for rows in order.split(int(batch_size)):
        # on uint8 many times faster than tensor[rows]
        yield tuple(tensor.index_select(0, rows) for tensor in tensors)


def _load(folder: Path, name: str, device: str | torch.device, remedy: str) -> Pictures:
    """The four files of `folder`, checked; an error names the file, what is wrong with it, and the `remedy`."""
    arrays: list[np.ndarray] = []
    known = [SHA256, BUNDLED_SHA256]
    for file in FILES:
        path = idx.find(folder, file)
        if path is None:
            there = next(place for place in (folder, *folder.parents) if place.is_dir())
            others = any(re.search(r"\.(csv|npz)$|^emnist", path.name) for path in there.iterdir())
            reader = "; own.file reads tables, npz and EMNIST" * others
            missing = f"{folder / file} is missing (and so is its .gz): {contents_of(there)}"
            raise FileNotFoundError(f"{missing}; {remedy}{reader}")
        try:
            array, contents = idx.read(path, SHAPE if "images" in file else ())
            if "labels" in file and len(array) != len(arrays[-1]):
                raise ValueError(f"holds {len(array):,} labels for {len(arrays[-1]):,} images")
            if name == "MNIST":
                # all four from one set: the bundled test digits are among the full set's training digits
                sha256 = hashlib.sha256(contents).hexdigest()
                known = [sums for sums in known if sums[file] == sha256]
                if not known:
                    raise ValueError("has another checksum than MNIST's")
            elif len(array) != SIZES["t10k" in file]:
                raise ValueError(f"holds {len(array):,} entries, not the {SIZES['t10k' in file]:,} of {name}")
            arrays.append(array)
        except ValueError as error:
            raise ValueError(f"{path} {error}; {remedy}") from None
    x_train, y_train, x_test, y_test = (torch.from_numpy(array).to(device) for array in arrays)
    origin = " of the 10,000 bundled with vaecore" if known == [BUNDLED_SHA256] else ""
    return Pictures(name, x_train, y_train.long(), x_test, y_test.long(), origin=origin)


def _download(name: str, folder: Path) -> None:
    """Fill `folder` with the .gz files from the first mirror that has all four; ConnectionError if none has."""
    own = os.environ.get("VAECORE_MIRROR", "").rstrip("/")
    mirrors = [f"{own}/", f"{own}/{name}/raw/"] if own else []
    failures = []
    for mirror in (*mirrors, *MIRRORS[name]):
        before = [file for file in FILES if (folder / f"{file}.gz").exists()]
        try:
            for file, md5 in zip(FILES, MD5[name], strict=True):
                # one's own mirror may have packed MNIST again: its contents have sums of their own
                known_hash = None if name == "MNIST" and mirror in mirrors else f"md5:{md5}"
                fetch(f"{mirror}{file}.gz", known_hash, folder / f"{file}.gz")
            _load(folder, name, "cpu", remedy="")
            return
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and (error.errno or isinstance(error, PermissionError)):  # none of a server
                failures.append(f"{folder} cannot be written: {error.strerror or 'permission denied'}")
                break
            reason = str(error) if len(str(error)) < 200 else type(error).__name__
            if not isinstance(error, OSError):  # an address that is none is both
                reason = f"not the files of {name}"
                for file in FILES:  # what was here before stays, unless it is the bad one
                    if file not in before or file in str(error):
                        (folder / f"{file}.gz").unlink(missing_ok=True)
            failures.append(f"{mirror}: {reason}")
    raise ConnectionError("; ".join(failures))
