"""Packs the built pages into one file that opens without a network: `python book/_ext/bundle.py PAGES FILE.zip`."""

import sys
import zipfile
from pathlib import Path

NAME = "variational-autoencoders"  # the one folder that unpacking makes


def bundle(pages, file):
    half = file.with_name(file.name + ".half")
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(path for path in pages.rglob("*") if path.is_file()):
            packed.write(path, f"{NAME}/{path.relative_to(pages).as_posix()}")
    half.replace(file)


if __name__ == "__main__":
    pages, file = map(Path, sys.argv[1:])
    bundle(pages, file)
    print(f"{file}: {file.stat().st_size / 1e6:.0f} MB; unpack it and open {NAME}/index.html.")
