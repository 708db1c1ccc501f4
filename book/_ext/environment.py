"""Makes `.venv` from the lock, or leaves it alone when it is already right. Called by the Makefile.

Only the standard library, and nothing that Python 3.6 does not speak: an old Python must get a sentence, not a
SyntaxError.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
READY = VENV / ".ready"  # written last, names what the environment was made from
MAKING = VENV / ".making"  # there while set-up runs: found at the start, it means that a set-up was killed
LOCK, PROJECT = ROOT / "requirements.txt", ROOT / "pyproject.toml"
SUPPORTED = ("3.11", "3.12", "3.13")
TORCH_AND_ITS_CUDA = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)$")


def stop(sentence):
    sys.exit("make: " + sentence)


def run(*command):
    words = [str(part) for part in command]
    if subprocess.call(words):
        stop(f"setting up .venv failed at `{' '.join(words)}`; the reason stands above.")


def answer(python, code):
    """What `python -c code` prints, or None where it fails."""
    if not shutil.which(str(python)):
        return None
    done = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode().strip() if done.returncode == 0 else None


def requirements(text):
    """The lock cut into (name, lines): a requirement with its hashes; a name may come twice, for two Pythons."""
    blocks = re.split(r"(?m)^(?=[a-z0-9])", text)
    return [(re.match(r"[a-z0-9._-]+", block).group(), block) for block in blocks if block[0].isalnum()]


def wanted(torch, base):
    """What a finished environment records: equal records mean that nothing has to be done."""
    content = hashlib.sha256(LOCK.read_bytes() + PROJECT.read_bytes() + Path(__file__).read_bytes())
    return dict(base, content=content.hexdigest(), torch=torch, root=str(ROOT))


def record(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def installed_torch_folders(python):
    """Where `python` keeps torch and torchvision."""
    code = (
        "import os, torch, torchvision;"
        "print(os.pathsep.join({os.path.dirname(os.path.dirname(m.__file__)) for m in (torch, torchvision)}));"
        "assert tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 6)"
    )
    folders = answer(python, code)
    if folders is None:
        stop(
            f"TORCH=installed needs torch 2.6 or newer and a matching torchvision in {python}; install them there, "
            "or leave TORCH=installed out to get the pinned ones."
        )
    return folders.split(os.pathsep)


def create(torch):
    """A fresh, empty .venv of the Python that runs this file."""
    if VENV.is_symlink():
        VENV.unlink()
    shutil.rmtree(str(VENV), ignore_errors=True)
    VENV.mkdir()
    MAKING.touch()
    keep = ["--system-site-packages"] if torch == "installed" else []
    run(sys.executable, "-m", "venv", *keep, VENV)


def fill(kept):
    """Installs exactly the lock, then vaecore without its dependencies."""
    python, locked = VENV / "bin" / "python", requirements(LOCK.read_text())
    if kept:
        locked = [(name, block) for name, block in locked if not TORCH_AND_ITS_CUDA.match(name)]
        # a torch inside another virtual environment is not a system package of ours: a .pth line lets us see it,
        # behind our own packages
        site = Path(answer(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
        site.joinpath("kept_torch.pth").write_text("\n".join(kept) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        uv_alone, rest = Path(folder, "uv.txt"), Path(folder, "lock.txt")
        uv_alone.write_text(dict(locked)["uv"])
        rest.write_text("".join(block for _, block in locked))
        pinned = re.match(r"uv==(\S+)", dict(locked)["uv"]).group(1)
        uv = VENV / "bin" / "uv"
        if not uv.exists() or pinned not in subprocess.check_output([str(uv), "--version"]).decode():
            quiet = ["--quiet", "--disable-pip-version-check", "--ignore-installed", "--require-hashes"]
            run(python, "-m", "pip", "install", *quiet, "-r", uv_alone)
        run(uv, "pip", "sync", "--python", python, "--require-hashes", rest)
        run(uv, "pip", "install", "--python", python, "--no-deps", "--no-build-isolation", "-e", ROOT)
    if answer(python, "import torch, torchvision, vaecore, jupyter_book") is None:
        run(python, "-c", "import torch, torchvision, vaecore, jupyter_book")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--torch", default="", help="pinned or installed; empty: as it was, at first pinned")
    parser.add_argument("--keep-python", action="store_true", help="do not ask which Python .venv was made with")
    options = parser.parse_args()
    found, unfinished = record(READY), record(MAKING)
    torch = options.torch or found.get("torch") or unfinished.get("torch") or "pinned"
    if torch not in ("pinned", "installed"):
        stop(f"TORCH must be `pinned` or `installed`, not `{torch}`.")
    version = ".".join(map(str, sys.version_info[:2]))
    base = {"prefix": sys.prefix, "version": version, "python": sys.executable}
    if found and options.keep_python:
        base = {key: found[key] for key in base}
    aim = wanted(torch, base)
    runs = answer(VENV / "bin" / "python", "import sys; print('%d.%d' % sys.version_info[:2])")
    if runs and found == aim:
        return
    same = all(found.get(key) == aim[key] for key in ("prefix", "version", "torch", "root"))
    by_hand = VENV.exists() and not found and not MAKING.exists() and torch == "pinned"
    reuse = runs in SUPPORTED and (same or by_hand)
    if not reuse and version not in SUPPORTED:
        stop(
            f"the book needs Python 3.11, 3.12 or 3.13, but {sys.executable} is {version}; name another one with "
            "`make book PYTHON=/path/to/python3.12`."
        )
    kept = installed_torch_folders(aim["python"]) if torch == "installed" else []
    print("Setting up .venv (once; again only when the lock changes) ...", flush=True)
    if not reuse:
        create(torch)
    MAKING.write_text(json.dumps(aim))
    if READY.exists():
        READY.unlink()
    fill(kept)
    MAKING.replace(READY)


if __name__ == "__main__":
    main()
