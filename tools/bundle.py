"""Pack the built pages into one file that opens without a network: `python -m tools.bundle PAGES FILE.zip`."""

import shutil
import sys
import tempfile
from pathlib import Path

NAME = "variational-autoencoders"  # the one folder that unpacking makes


def bundle(pages: Path, file: Path) -> None:
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        Path(folder, NAME).symlink_to(pages.absolute())
        shutil.make_archive(str(Path(folder, "book")), "zip", folder, NAME)
        Path(folder, "book.zip").replace(file)


if __name__ == "__main__":
    pages, file = map(Path, sys.argv[1:])
    bundle(pages, file)
    print(f"{file}: {file.stat().st_size / 1e6:.0f} MB; unpack it and open {NAME}/index.html.")
