"""Your own pictures: a folder of files as people have them, or one file of arrays."""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from . import idx
from .checks import check_above_zero, check_at_least
from .data import Pictures
from .files import contents_of

OF_SYSTEMS = ("__MACOSX", "Thumbs.db", "desktop.ini", "Icon\r")
HELD_OUT = {"test", "val", "valid", "validation"}  # folders
ORIENTATION = 0x112  # in EXIF
SHOWN = 8  # names, of however many
FAINT = 16  # greys: a drawing whose paper and ink are closer than this is taken for empty paper


def folder(
    path: str | Path,
    shape: tuple[int, int] = (28, 28),
    channels: int = 1,
    *,
    ink: bool | None = None,
    test: float = 0.2,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Pictures:
    """The pictures PATH/CLASS/FILE, or PATH/FILE without classes, shuffled, a share `test` of them held back.

    If PATH holds just two folders, train and test (or val), these are that share. All become `shape`, (H, W), grey
    (channels=1) or colour (channels=3): upright by EXIF, transparent parts white, 16-bit and float files scaled to 0 to
    255, of several frames the first, and padded rather than squeezed. With `ink`, by default for grey ones, they are
    drawings: paper becomes 0 and ink 255, whichever of the two is darker, each picture judged by itself. Classes are in
    natural order (2 before 10), their names kept. Hidden files are left out, and so are files that cannot be read: the
    repr names these, and counts what else was done. ValueError: fewer than two can be read.
    """
    path, ink = Path(path).expanduser(), channels == 1 if ink is None else ink
    _check(path, shape, channels, ink, test)
    files, names, skipped = _files(path)
    done: Counter[str] = Counter()
    x, y, is_test = [], [], []
    for file, label, held_out in files:
        try:
            pixels, what = _pixels(file, shape, channels, ink)
        except Exception as error:  # Pillow's readers of damaged files raise all kinds
            skipped.append(f"{file.relative_to(path)} ({_reason(error)})")
            continue
        x.append(torch.from_numpy(pixels).flatten())
        y.append(label)
        is_test.append(held_out)
        done.update(what)
    n_test = sum(is_test) or max(1, round(test * len(x)))
    if len(x) <= n_test:
        raise ValueError(f"{path} must hold two pictures, one to test on; got {len(x)}, left out: {_some(skipped)}.")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    order = order[torch.tensor(is_test)[order].long().argsort(descending=True, stable=True)]  # those to test on first
    notes = [f"{shape[0]} x {shape[1]} pixels{', in colour' * (channels == 3)}"]
    notes += [f"{len(names):,} classes: {_some(names)}"] * bool(names)
    notes += [f"{n:,} {what}" for what, n in done.most_common()]
    notes += [f"left out: {each}" for each in skipped[:SHOWN]]
    notes += [f"left out: {len(skipped) - SHOWN:,} more"] * (len(skipped) > SHOWN)
    return _shared_out(
        path.resolve().name,
        torch.stack(x)[order],
        torch.tensor(y)[order],
        n_test,
        device,
        shape=(channels, *shape) if channels == 3 else shape,
        classes=tuple(names),
        origin="".join(f"\n- {note}" for note in notes),
    )


def file(
    path: str | Path,
    *,
    top: float = 255,
    transposed: bool | None = None,
    test: float = 0.2,
    device: str | torch.device = "cpu",
) -> Pictures:
    """Pictures from one file of arrays, in their own order; what lies above `top` is an error, `top` itself is ink.

    - .npz, as Keras has MNIST: x_train, y_train, x_test and y_test.
    - .csv, as Kaggle has it: a row for each picture, its class first, then its pixels; a head is left out.
    - idx, as EMNIST has it: NAME-train-images-idx3-ubyte, plain or .gz, with its labels and test files beside it.
      EMNIST's pictures lie on their sides, so those of a file of that name are turned, if not `transposed` otherwise.

    Without test pictures in the file, the last share `test` of its rows serves. ValueError, FileNotFoundError: what was
    found instead.
    """
    path = Path(path).expanduser()
    check_above_zero(top=top)
    if not path.is_file():
        raise FileNotFoundError(f"path must be a file; {path} is none: {contents_of(path.parent)}.")
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "npz":
        arrays = _npz(path)
    elif kind == "csv":
        arrays = _csv(path)
    elif "idx" in path.name:
        arrays = _idx(path)
    else:
        raise ValueError(f"path must end in .npz or .csv, or be an idx file; got {path.name}.")
    if transposed if transposed is not None else path.name.startswith("emnist"):
        arrays = [a.swapaxes(1, 2) if a.ndim == 3 else a for a in arrays]
    images, labels = [], []
    for x, y in zip(arrays[::2], arrays[1::2], strict=True):
        if len(x) != len(y):
            raise ValueError(f"{path.name} holds {len(y):,} classes for {len(x):,} pictures.")
        if (low := x.min()) < 0 or x.max() > top:
            raise ValueError(f"{path.name} holds values from {low:g} to {x.max():g}, not 0 to top={top:g}.")
        if top == 255 and x.max() < 128:
            raise ValueError(f"{path.name} holds values up to {x.max():g} only: is top={x.max():g} meant?")
        images.append(torch.from_numpy(np.round(x * (255 / top)).astype(np.uint8)))
        labels.append(torch.from_numpy(y.astype(np.int64)))
    n_test = len(images[1]) if len(images) > 1 else max(1, round(test * len(images[0])))
    x, y = (torch.cat(parts).roll(n_test, 0) for parts in (images, labels))  # the last ones, to test on, come first
    return _shared_out(path.name, x.flatten(1), y, n_test, device, shape=tuple(x.shape[1:]))


def _shared_out(name: str, x: Tensor, y: Tensor, n_test: int, device: Any, **rest: Any) -> Pictures:
    """Pictures of which the first n_test are to test on."""
    x, y = x.to(device), y.to(device)
    return Pictures(name, x[n_test:], y[n_test:], x[:n_test], y[:n_test], **rest)


# --- a folder -------------------------------------------------------------------------------------------------------


def _check(path: Path, shape: tuple[int, int], channels: int, ink: bool, test: float) -> None:
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1, grey, or 3, colour; got {channels}.")
    if ink and channels == 3:
        raise ValueError("ink must be False for pictures in colour: paper and ink are judged in grey ones.")
    if not 0 < test < 1:
        raise ValueError(f"test must be a share between 0 and 1; got {test}.")
    check_at_least(1, height=shape[0], width=shape[1])
    if not path.is_dir():
        where = contents_of(path.parent) if path.parent.is_dir() else f"nor is there {path.parent}"
        raise FileNotFoundError(f"path must be a folder; {path} is none: {where}.")


def _files(path: Path) -> tuple[list[tuple[Path, int, bool]], list[str], list[str]]:
    """(file, class, whether it is to test on) of each, the names of the classes, and what is left out, in words."""
    parts = {place.name.lower(): place for place in _in_order(path.iterdir()) if place.is_dir()}
    if len(parts) == 2 and "train" in parts and parts.keys() & HELD_OUT:
        roots = [(place, name != "train") for name, place in parts.items()]
    else:
        roots = [(path, False)]
    loose, of_class = [], []  # (file, name of its class, to test on)
    for root, held_out in roots:
        for place in _in_order(root.iterdir()):
            if place.is_dir():
                of_class += [(file, place.name, held_out) for file in _visible(place)]
            else:
                loose.append((place, "", held_out))
    names = [place.name for place in _in_order({Path(name) for _, name, _ in of_class})]
    if not names:
        return [(file, 0, held_out) for file, _, held_out in loose], [], []
    skipped = [f"{file.relative_to(path)} (lies beside the folders of classes)" for file, _, _ in loose]
    return [(file, names.index(name), held_out) for file, name, held_out in of_class], names, skipped


def _visible(place: Path) -> list[Path]:
    """All files below a folder but hidden ones."""
    inner = _in_order(place.iterdir())
    return [file for at in inner for file in ([at] if at.is_file() else _visible(at) if at.is_dir() else [])]


def _in_order(places: Iterable[Path]) -> list[Path]:
    """Those that are not hidden, nor a system's own, in natural order: 2 before 10."""
    shown = (place for place in places if not place.name.startswith(".") and place.name not in OF_SYSTEMS)
    return sorted(
        shown, key=lambda place: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", place.name.lower())]
    )


def _pixels(file: Path, shape: tuple[int, int], channels: int, ink: bool) -> tuple[np.ndarray, list[str]]:
    """One file as uint8, (H, W) or (3, H, W), and what was done to it, in words."""
    done = []
    if file.suffix and file.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"{file.suffix} is no format that Pillow reads")
    with Image.open(file) as opened:
        if getattr(opened, "n_frames", 1) > 1:
            done.append("of several frames: the first is taken")
        picture = ImageOps.exif_transpose(opened)
        if opened.getexif().get(ORIENTATION, 1) != 1:
            done.append("turned upright")
    if picture.mode[0] in "IF":
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
        done.append("of more than 8 bits: scaled")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        grey, alpha = (np.asarray(layer.convert("LA"), np.float32)[..., i] for i in (0, 1))
        if alpha.min() < 255:
            light = ink and (grey * alpha).sum() > 127 * alpha.sum()
            ground = Image.new("RGBA", layer.size, "black" if light else "white")
            picture = Image.alpha_composite(ground, layer)
            done.append(f"transparent: put on {'black or ' * ink}white")
    picture = picture.convert("RGB" if channels == 3 else "L")
    picture = ImageOps.contain(picture, (shape[1], shape[0]), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    if ink:
        pixels, dark = _paper_and_ink(pixels.astype(np.float32))
        done.append(dark)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if pixels.shape[:2] != shape:
        done.append("padded")
    whole = np.empty((*shape, *pixels.shape[2:]), np.uint8)
    whole[:] = 0 if ink else np.median(edge, axis=0)
    top, left = ((a - b) // 2 for a, b in zip(shape, pixels.shape, strict=False))
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return whole.transpose(2, 0, 1) if channels == 3 else whole, done


def _paper_and_ink(grey: np.ndarray) -> tuple[np.ndarray, str]:
    """A drawing with paper at 0 and ink at 255, and what it was. Paper is the median, ink the farther extreme."""
    low, paper, high = grey.min(), np.median(grey), grey.max()
    dark = paper - low >= high - paper
    ink = low if dark else high
    if abs(ink - paper) < FAINT:
        return np.zeros(grey.shape, np.uint8), "without ink"
    scaled = 255 * (grey - paper) / (ink - paper)
    return scaled.clip(0, 255).round().astype(np.uint8), "dark on light" if dark else "light on dark"


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """16-bit or floating-point greys as uint8."""
    low, high = values.min(), values.max()
    tops = (1, 255) if values.dtype.kind == "f" else (255, 65535)
    top = next((top for top in tops if high <= top), None)
    if top is None or not low >= 0:
        raise ValueError(f"holds values from {low:g} to {high:g}, neither to {tops[0]} nor to {tops[1]}")
    return (values * (255 / top)).round().astype(np.uint8)


def _reason(error: Exception) -> str:
    """Why a file could not be read, without its path."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture, or damaged"
    return str(error).split("\n")[0][:80].rstrip(".") or type(error).__name__


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "none"


# --- a file of arrays -----------------------------------------------------------------------------------------------


def _npz(path: Path) -> list[np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        names = ("x_train", "y_train", "x_test", "y_test")
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"{path.name} lacks {', '.join(missing)}: it holds {', '.join(found.files)}.")
        arrays = [found[name] for name in names]
    for i in (0, 2):
        if arrays[i].ndim == 4:  # colour behind its pixels
            arrays[i] = arrays[i].transpose(0, 3, 1, 2)
    return [array if i % 2 == 0 else array.reshape(-1) for i, array in enumerate(arrays)]


def _csv(path: Path) -> list[np.ndarray]:
    with open(path, newline="") as text:
        first = next(csv.reader(text), [])
    head = not all(cell.lstrip("-").replace(".", "", 1).isdecimal() for cell in first)
    if head and first[0].lower() not in ("label", "class", "y"):
        raise ValueError(f"{path.name} must have the class in its first column, label; its first is {first[0]!r}.")
    try:
        table = np.loadtxt(path, delimiter=",", skiprows=int(head), ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path.name} is no table of numbers: {error}.") from None
    side = math.isqrt(table.shape[1] - 1)
    if side * side != table.shape[1] - 1:
        raise ValueError(f"{path.name} must have a class and the pixels of a square; it has {table.shape[1]} columns.")
    return [table[:, 1:].reshape(-1, side, side), table[:, 0]]


def _idx(path: Path) -> list[np.ndarray]:
    train = path.name.removesuffix(".gz").replace("labels", "images").replace("idx1", "idx3")
    train = re.sub("test|t10k", "train", train)
    tests = [train.replace("train", word) for word in ("test", "t10k")]
    images = [train, next((name for name in tests if idx.find(path.parent, name)), "")]
    arrays = []
    for name in filter(None, images):
        for file, n_dims in ((name, 3), (name.replace("images", "labels").replace("idx3", "idx1"), 1)):
            found = idx.find(path.parent, file)
            if found is None:
                raise FileNotFoundError(f"{file} is missing (and so is its .gz): {contents_of(path.parent)}.")
            try:
                arrays.append(idx.read_any(found, n_dims))
            except ValueError as error:
                raise ValueError(f"{found} {error}.") from None
    return arrays
