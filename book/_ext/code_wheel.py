"""The wheel that each notebook carries: vaecore's code alone, without weights and digits; equal code, equal bytes."""

import base64
import functools
import hashlib
import io
import json
import tomllib
import zipfile

from environment import requirements
from safetensors import safe_open

CODE = (".py", ".js", ".css")
LEFT_OUT = {"digits", "weights", ".ipynb_checkpoints"}


def cards(weights):
    """What the code has to know of the weights that do not travel with it: how long each took, and its check sum."""
    found = {}
    for path in sorted(weights.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            card = json.loads(file.metadata()["card"])
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.stem] = dict(seconds=card["seconds"], threads=card["threads"], sha256=sha256)
    return json.dumps(found, indent=1)


def pins(lock):
    """The lock's versions as pip's constraints, without the hashes."""
    first_lines = (block.split("\n")[0].rstrip("\\ ") for _, block in requirements(lock))
    return "\n".join(first_lines) + "\n"


def contents(root):
    """Name to bytes of all that the package folder of the wheel holds."""
    package = root / "vaecore"
    code = (path for path in package.rglob("*") if path.suffix in CODE)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in code if not LEFT_OUT & set(path.parts)}
    results = root.glob("benchmarks/results/*.json")
    files |= {f"vaecore/results/{path.name}": path.read_bytes() for path in results}
    return files | {"vaecore/weights/cards.json": cards(package / "weights").encode()}


def record_row(name, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


@functools.cache
def code_wheel(root):
    """The wheel's bytes; its version ends in a hash of what it holds, so that no two builds share one."""
    files, project = contents(root), tomllib.loads((root / "pyproject.toml").read_text())["project"]
    build = hashlib.sha256("\n".join(record_row(*item) for item in sorted(files.items())).encode()).hexdigest()[:12]
    version = f"{project['version']}+{build}"
    metadata = ["Metadata-Version: 2.4", "Name: vaecore", f"Version: {version}", f"Summary: {project['description']}"]
    metadata += [f"License-Expression: {project['license']}", f"Requires-Python: {project['requires-python']}"]
    metadata += [f"Requires-Dist: {line}" for line in project["dependencies"]]
    info = f"vaecore-{version}.dist-info"
    files |= {
        f"{info}/METADATA": ("\n".join(metadata) + "\n").encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: vaecore\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/LICENSE": (root / "LICENSE").read_bytes(),
        f"{info}/constraints.txt": pins((root / "requirements.txt").read_text()).encode(),
    }
    rows = [record_row(*item) for item in sorted(files.items())] + [f"{info}/RECORD,,"]
    files[f"{info}/RECORD"] = ("\n".join(rows) + "\n").encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for name, content in sorted(files.items()):
            wheel.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
