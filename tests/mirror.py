"""For the data tests: data folders to write and read, and a web server on this machine that may misbehave."""

import gzip
import http.server
import os
import struct
import threading
from pathlib import Path

import numpy as np

from vaecore.data import FILES

HTML = b"<!DOCTYPE html><title>Please log in</title>" * 50


def contents(root: Path, name: str = "MNIST") -> dict[str, bytes]:
    """The four files of a data folder, uncompressed."""
    return {
        file: plain.read_bytes() if plain.is_file() else gzip.decompress(Path(f"{plain}.gz").read_bytes())
        for file in FILES
        for plain in [Path(root, name, "raw", file)]
    }


def whole_mnist() -> Path | None:
    """The folder $VAECORE_DATA if it holds all of MNIST; without it the tests take the bundled digits instead."""
    root = Path(os.environ.get("VAECORE_DATA") or "nowhere")
    there = any((root / "MNIST" / "raw" / (FILES[1] + suffix)).is_file() for suffix in ("", ".gz"))
    return root if there and len(contents(root)[FILES[1]]) == 8 + 60_000 else None


def write(root: Path, files: dict[str, bytes], name: str = "MNIST") -> Path:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for file, stored in files.items():
        (raw / file).write_bytes(stored)
    return root


def idx(*shape: int, fill: int = 0) -> bytes:
    return struct.pack(f">2xBB{len(shape)}I", 8, len(shape), *shape) + bytes([fill]) * int(np.prod(shape))


def garments() -> dict[str, bytes]:
    """Fashion-MNIST's size and shape: all images black, all labels 9."""
    shapes = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
    return {file: idx(*shape, fill=9 * (len(shape) == 1)) for file, shape in zip(FILES, shapes, strict=True)}


def archives(files: dict[str, bytes], prefix: str = "/") -> dict[str, bytes]:
    """What a mirror serves for `files`: path to gzip."""
    return {f"{prefix}{file}.gz": gzip.compress(stored, 1, mtime=0) for file, stored in files.items()}


def flip(stored: bytes) -> bytes:
    """One bit, in the middle of a line of pixels or labels."""
    return stored[:4000] + bytes([stored[4000] ^ 1]) + stored[4001:]


class Mirror(http.server.ThreadingHTTPServer):
    """Serves `files`, path to bytes, and notes what was asked for; a `fault` spoils every answer."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], fault: str = ""):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.fault, self.asked, self.closing = files, fault, [], threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.closing.set()
        self.shutdown()
        self.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body, fault = self.server.files.get(self.path), self.server.fault
        if fault == "silent":
            self.server.closing.wait(20)
        if body is None or fault == "error 500":
            return self.send_error(404 if body is None else 500)
        body = {"web page": HTML, "flipped bit": flip(body + bytes(4000)), "other set": gzip.compress(idx(9))}.get(
            fault, body
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault in ("cut off", "stalled") else body)
        if fault == "stalled":
            self.wfile.flush()
            self.server.closing.wait(20)

    def log_message(self, *args):
        pass
