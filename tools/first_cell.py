# @title Set-up: run this cell first. It brings the book's code, and installs what is missing here.
import base64
import contextlib
import importlib.metadata
import importlib.util
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def plain(requirement):
    """Return the name in a requirement, as package indexes compare it: "Graphviz_Pure>=0.2" is graphviz-pure."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


def inside(wheel, suffix):
    """Return the text of the wheel's one file whose name has this suffix."""
    return wheel.read(next(name for name in wheel.namelist() if name.endswith(suffix))).decode()


def add_what_is_missing(wheel, imported):
    """Install the packages that vaecore or this notebook needs and that are missing, as pinned; what is here stays."""
    here = {plain(found.name): found.version for found in importlib.metadata.distributions() if found.name}
    needed = re.findall(r"^Requires-Dist: (.+)$", inside(wheel, "/METADATA"), re.MULTILINE)
    missing = [plain(line) for line in [*needed, *imported] if plain(line) not in here]
    if not missing:
        return
    pins = []
    for line in inside(wheel, "/constraints.txt").splitlines():
        name = plain(line)
        if name in here:
            pins.append(f"{name}=={here[name]}")
        elif name != "torchvision" or "torch" not in here:  # with a torch that is here, the one that fits it
            pins.append(line)
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(pins))
        quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]  # nothing for readers to mend
        command = [sys.executable, "-m", "pip", "install", *quiet, "--constraint", str(constraints), *missing]
        if subprocess.run(command).returncode:
            raise RuntimeError(
                f"This notebook needs {', '.join(missing)}, which pip could not install; connect to the network "
                "and run this cell again, or install it yourself."
            )
    importlib.invalidate_caches()


def holds(folder, wheel):
    """Return whether the code in the folder is the wheel's, byte for byte."""
    code = [name for name in wheel.namelist() if name.startswith("vaecore/") and name.endswith((".py", ".js", ".css"))]
    return all(Path(folder, name).is_file() and Path(folder, name).read_bytes() == wheel.read(name) for name in code)


def unpack(wheel):
    """Unpack the wheel into the user's cache or, if it cannot be written, a temporary folder; return the folder."""
    version = re.search(r"^Version: (.+)$", inside(wheel, "/METADATA"), re.MULTILINE).group(1)
    caches = [os.path.expanduser(cache) for cache in (os.environ.get("XDG_CACHE_HOME", ""), "~/.cache")]
    for cache in filter(os.path.isabs, caches):  # a relative one would lie in the reader's working folder
        with contextlib.suppress(OSError):
            return unpack_into(Path(cache, "vaecore", "code", version), wheel)
    return unpack_into(Path(tempfile.mkdtemp(prefix="vaecore-"), version), wheel)


def unpack_into(folder, wheel):
    """Unpack the wheel, whole or not at all, unless its code is there; return the folder."""
    if not holds(folder, wheel):
        folder.parent.mkdir(parents=True, exist_ok=True)
        half = tempfile.mkdtemp(dir=folder.parent)
        wheel.extractall(half)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(half, folder)
    return folder


def bring(packed, weights, imported=()):
    """Make `import vaecore` give the code that this notebook was made with; any other that is installed stays.

    `packed` is the wheel as LZMA, in base64; `imported` names what this notebook imports besides vaecore's packages.
    `weights` is the address of trained weights; if it is empty, they are trained here.
    """
    if sys.version_info < (3, 11):  # noqa: UP036, the reader's Python is not ours
        raise RuntimeError(f"This notebook needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    wheel = zipfile.ZipFile(io.BytesIO(lzma.decompress(base64.b64decode(packed))))
    add_what_is_missing(wheel, imported)
    found = importlib.util.find_spec("vaecore")
    if not (found and found.origin and holds(Path(found.origin).parents[1], wheel)):
        folder = str(unpack(wheel))
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        for name in [name for name in sys.modules if name.split(".")[0] == "vaecore"]:
            del sys.modules[name]
    if weights:
        os.environ.setdefault("VAECORE_WEIGHTS", weights)
