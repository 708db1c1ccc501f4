"""The wheel that each notebook carries: vaecore's code and recorded runs, without weights and digits.

It is unpacked, not installed. Equal contents give equal bytes.
"""

import functools
import hashlib
import io
import json
import re
import tomllib
import zipfile

from safetensors import safe_open

CARRIED = (".py", ".js", ".css", ".json")
LEFT_OUT = {"digits", "weights", ".ipynb_checkpoints"}
PACKAGES = {"skimage": "scikit-image"}  # of those whose name to import is another


def cards(weights):
    """Return what the code must know of weights that are not bundled, as JSON: seconds, threads and hash of each."""
    found = {}
    for path in sorted(weights.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            card = json.loads(file.metadata()["card"])
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.stem] = dict(seconds=card["seconds"], threads=card["threads"], sha256=sha256)
    return json.dumps(found, indent=1)


def pins(lock):
    """Return the lock's versions as pip's constraints, without the hashes."""
    return "".join(f"{line}\n" for line in re.findall(r"(?m)^([a-z0-9].*?)(?: \\)?$", lock))


def imports(root, code):
    """Return the names of those packages that the code imports and the book brings, but vaecore does not need."""
    book = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["book"]
    imported = {PACKAGES.get(name, name) for name in re.findall(r"(?m)^\s*(?:import|from) (\w+)", code)}
    return sorted(imported & {re.match(r"[\w-]+", line).group() for line in book})


def contents(root):
    """Return name to bytes of all that the package folder of the wheel holds."""
    package = root / "vaecore"
    code = (path for path in package.rglob("*") if path.suffix in CARRIED)
    code = (path for path in code if not LEFT_OUT & set(path.relative_to(package).parts))
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in code}
    return files | {"vaecore/weights/cards.json": cards(package / "weights").encode()}


@functools.cache
def code_wheel(root):
    """Return the wheel's bytes; its version ends in a hash of what it holds, so that no two builds share one."""
    files, project = contents(root), tomllib.loads((root / "pyproject.toml").read_text())["project"]
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    version = f"{project['version']}+{digest.hexdigest()[:12]}"
    metadata = ["Metadata-Version: 2.4", "Name: vaecore", f"Version: {version}", f"Summary: {project['description']}"]
    metadata += [f"License-Expression: {project['license']}", f"Requires-Python: {project['requires-python']}"]
    metadata += [f"Requires-Dist: {line}" for line in project["dependencies"]]
    info = f"vaecore-{version}.dist-info"
    files |= {
        f"{info}/METADATA": ("\n".join(metadata) + "\n").encode(),
        f"{info}/LICENSE": (root / "LICENSE").read_bytes(),
        f"{info}/constraints.txt": pins((root / "requirements.txt").read_text()).encode(),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as wheel:  # stored: a notebook packs it as a whole, which is far smaller
        for name, content in sorted(files.items()):
            wheel.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
    return packed.getvalue()
