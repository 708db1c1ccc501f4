"""Build the book into OUT/_build/html: `python -m tools.build`; `--help` lists its options.

Jupyter Book alone would say "done" too early: after a failed build, and when vaecore or the data has changed but no
cell. Here a build is complete only when its stamp, written last, matches all that went in and all that came out.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tools import messages
from vaecore.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = max(1, CORES // 2)  # of each chapter: two run at a time; more threads than cores crawl
SKIP = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}


def fingerprint(*paths):
    """Return one hash over the names and contents of files and of all files below folders."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and not SKIP & set(file.parts):
                digest.update(f"{file.relative_to(path.parent)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def listing(folder):
    """Return a hash over names, sizes and times, which changes when anyone touches the built pages."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    rows = [f"{f.relative_to(folder)} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def machine():
    """Return what a chapter's numbers depend on besides the code: versions, processor, threads, device, data."""
    import torch

    from vaecore.devices import pick_device

    device = pick_device("auto")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": THREADS,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        **data(),
    }


def data():
    """Find MNIST (a download shows its bar here, in the terminal); return its description and the hash of its bytes."""
    from vaecore import data, download

    os.environ["XDG_CACHE_HOME"] = str(download.cache_folder().parent)  # one for all chapters, even a temporary one
    try:
        digits = data.mnist()
    except (OSError, ValueError) as error:
        sys.exit(f"build: {error}")
    print(digits, flush=True)
    if not digits.is_full:  # no network: the chapters need not find that out again, one by one
        os.environ["VAECORE_DATA"] = str(data.BUNDLED)
    return {"data": digits.describe(), "bytes": data.fingerprint(digits)}


def execution_key(facts):
    """Return all that a chapter's outputs depend on besides its cells, which jupyter-cache checks by itself."""
    read = ("vaecore", "requirements.txt", "_config.yml", "tools/build.py", "tools/execute.py")
    return [facts, fingerprint(*(ROOT / name for name in read))]


def keep_or_drop_executions(cache, key):
    """Empty jupyter-cache when anything besides the cells has changed, or when a killed run left it broken."""
    from jupyter_cache import get_cache

    stamp = cache / "key.json"
    try:
        if stamp.read_text() == key:
            store = get_cache(cache)
            for record in store.list_cache_records():
                store.get_cache_bundle(record.pk)
            return
        print("The code, the data or the machine has changed: all chapters run again.", flush=True)
    except FileNotFoundError:
        pass
    except Exception as error:
        print(f"The store of executed chapters is damaged ({error}): all chapters run again.", flush=True)
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    write_whole(stamp, key.encode())


def call(command, environment, lock):
    """Run a command, which keeps the lock even when this process is killed; return its exit status."""
    command = [sys.executable, *map(str, command)]
    return subprocess.call(command, env=environment, cwd=ROOT, pass_fds=[lock.fileno()])


def jupyter_book(source, config, toc, out, *options):
    """Return the command for Python; it runs in ROOT, so that extensions can import `tools`."""
    command = ["-c", "from jupyter_book.cli.main import main; main()", "build", source, "--path-output", out]
    return [*command, "--config", config, "--toc", toc, "--all", "--keep-going", *options]


def prepare_japanese(source, folder, cache):
    """Empty the folder; write what Sphinx reads of the translations, and the configuration, whose path is returned."""
    shutil.rmtree(folder, ignore_errors=True)
    locales = source / "locales" / "ja"
    messages.write_compiled(locales / "LC_MESSAGES", folder / "locales" / "ja" / "LC_MESSAGES")
    settings = merged(*(yaml.safe_load(file.read_text()) for file in (ROOT / "_config.yml", locales / "config.yml")))
    settings["execute"]["cache"] = str(cache)
    if base := settings["html"]["baseurl"]:
        settings["html"]["baseurl"] = f"{base.rstrip('/')}/ja"
    settings["sphinx"]["config"]["locale_dirs"] = [str(folder / "locales")]
    extensions = settings["sphinx"]["local_extensions"]  # else looked for next to the configuration
    settings["sphinx"]["local_extensions"] = {name: str(ROOT / place) for name, place in extensions.items()}
    config = folder / "_config.yml"
    config.write_text(yaml.safe_dump(settings, allow_unicode=True))
    return config


def merged(below, above):
    """Return the first dict with what the second says differently, also in the dicts inside."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {name: merged(below.get(name), value) for name, value in above.items()}


def surroundings(target):
    """Return the environment that chapters run in: the same for everyone, whatever the terminal has set."""
    profile = target / ".ipython" / "profile_default"  # not the reader's own, which may run start-up files
    profile.mkdir(parents=True, exist_ok=True)
    quiet = 'c.IPKernelApp.log_level = "ERROR"'  # else each kernel warns of its local TCP sockets
    profile.joinpath("ipython_kernel_config.py").write_text(quiet + "\n")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONWARNINGS", "MPLBACKEND")}
    environment |= {"IPYTHONDIR": str(profile.parent), "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONHASHSEED": "0"}
    return environment | {"VAECORE_BUILD": "1", "OMP_NUM_THREADS": str(THREADS)}


def build(out, source, options, lock):
    target, page = out / "_build", options.page
    html, stamp, toc = target / "html", target / "complete.json", ROOT / "_toc.yml"
    if (source / "_toc.yml").exists():
        toc = source / "_toc.yml"
    language = options.language or ("en" if page or options.linkcheck else "ja")
    japanese = language == "ja" and (source / "locales" / "ja").exists()
    facts = machine()
    key = execution_key(facts)
    frame = ("_config.yml", "book/_ext", "book/_assets", "tools", "pyproject.toml", "LICENSE")
    inputs = [
        key,
        fingerprint(source, toc, *(ROOT / name for name in frame)),
        {"solutions": not options.no_solutions, "japanese": japanese},
    ]
    whole = not page and not options.linkcheck
    if whole and stamp.exists() and json.loads(stamp.read_text()) == [*inputs, listing(html)]:
        print("Nothing has changed since the last build.")
        return html

    if not options.linkcheck:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(html, ignore_errors=True)
    for folder in (target / ".doctrees", target / "jupyter_execute"):
        shutil.rmtree(folder, ignore_errors=True)
    cache = target / ".jupyter_cache"
    keep_or_drop_executions(cache, json.dumps(key))
    if page:
        toc = target / "page_toc.yml"
        toc.write_text(f"root: {page}\n")
    environment = surroundings(target)
    environment |= {"VAEBOOK_MACHINE": json.dumps(facts), "VAEBOOK_SOLUTIONS": str(int(not options.no_solutions))}
    environment |= {"VAEBOOK_LANGUAGES": "en ja" if japanese else "en"}
    chapters = [source / f"{page}.md"] if page else sorted(source.glob("*.md"))
    if call(["-m", "tools.execute", ROOT / "_config.yml", cache, *chapters], environment, lock):
        sys.exit("build: the book is not built; the reasons stand above.")
    strict = [] if page else ["-W", "-n"]
    builder = ["--builder", "linkcheck"] if options.linkcheck else []
    if call(jupyter_book(source, ROOT / "_config.yml", toc, out, *strict, *builder), environment, lock):
        sys.exit("build: the book is not built; the reasons stand above.")
    if japanese:
        config = prepare_japanese(source, target / "ja", cache)
        if call(jupyter_book(source, config, toc, target / "ja", *strict), environment, lock):
            sys.exit("build: the pages in Japanese are not built; the reasons stand above.")
        shutil.move(target / "ja" / "_build" / "html", html / "ja")
    if whole:
        write_whole(stamp, json.dumps([*inputs, listing(html)]).encode())
    return html


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT, help="the pages go to OUT/_build/html")
    parser.add_argument("--source", type=Path, default=ROOT / "book", help="the folder of the chapters")
    parser.add_argument("--page", help="only this chapter, such as 02_kl; links to other chapters then only warn")
    parser.add_argument("--language", choices=["en", "ja"], help="en: not in Japanese; ja: in both, also one page")
    parser.add_argument("--linkcheck", action="store_true", help="no pages: ask for every address that they link to")
    parser.add_argument("--no-solutions", action="store_true", help="leave the solutions of exercises out")
    options = parser.parse_args()
    if os.environ.get("VAECORE_DATA"):  # chapters run in another folder than the terminal's
        os.environ["VAECORE_DATA"] = str(Path(os.environ["VAECORE_DATA"]).expanduser().absolute())
    out = options.out.expanduser().absolute()  # a shell leaves the ~ of --out=~/book as it is
    (out / "_build").mkdir(parents=True, exist_ok=True)
    with open(out / "_build" / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"build: another build is writing into {out / '_build'}; wait for it or name another --out.")
        try:
            html = build(out, options.source.absolute(), options, lock)
        except KeyboardInterrupt:
            sys.exit("build: stopped. The next run keeps the chapters that have run.")
    if not options.linkcheck:
        print(f"\nOpen the book in a browser:  {(html / (options.page or 'index')).as_uri()}.html")


if __name__ == "__main__":
    main()
