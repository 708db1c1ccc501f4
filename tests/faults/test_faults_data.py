"""Data that come damaged, from a disk or over a wire: a clear sentence or the right digits, never wrong ones."""

import gzip
import hashlib
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from mirror import FILES, PACKAGED, Mirror, archives, contents, write
from small_runs import damaged, full_disk, processes
from torchvision import datasets

from vaecore import data

MANY = pytest.param(10_000, marks=pytest.mark.slow)


@pytest.fixture
def few(monkeypatch, tmp_path) -> dict[str, bytes]:
    """A set of 30 digits in MNIST's place, so that a load takes no time; its mirrors, cache and sums are its own."""
    monkeypatch.delenv("VAECORE_DATA", raising=False)
    monkeypatch.setenv("VAECORE_BUILD", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sizes = dict(zip(FILES, (20, 20, 10, 10), strict=True))
    files = {}
    for file, whole in contents(PACKAGED).items():
        n_header, n_item = (16, 784) if "images" in file else (8, 1)
        n = sizes[file]
        files[file] = whole[:4] + n.to_bytes(4, "big") + whole[8 : n_header + n * n_item]
    monkeypatch.setattr(data, "FULL", (20, 10))
    monkeypatch.setattr(data, "SHA256", {file: hashlib.sha256(whole).hexdigest() for file, whole in files.items()})
    for name in ("MNIST", "KMNIST"):
        monkeypatch.setattr(getattr(datasets, name), "mirrors", [])
    packed = archives(files)
    sums = [(f"{file}.gz", hashlib.md5(packed[f"/{file}.gz"]).hexdigest()) for file in FILES]
    monkeypatch.setattr(datasets.KMNIST, "resources", sums)
    return files


@pytest.mark.parametrize("n", [200, MANY])
def test_damaged_files_are_refused_or_right(n, few, tmp_path, tally):
    """MNIST's, plain and packed, and KMNIST's as the cache keeps them: packed, for a plain one has no sum."""
    dice, refused = random.Random(n), 0
    kinds = [("MNIST", ""), ("MNIST", ".gz"), ("KMNIST", ".gz")]
    packed = {("", file): whole for file, whole in few.items()}
    packed |= {(".gz", file): gzip.compress(whole) for file, whole in few.items()}
    roots = [
        write(tmp_path / str(i), {file + end: packed[end, file] for file in FILES}, name)
        for i, (name, end) in enumerate(kinds)
    ]
    right = {data.fingerprint(data.mnist(name, root)) for (name, _), root in zip(kinds, roots, strict=True)}
    assert len(right) == 1
    for case in range(n):
        (name, end), root, file = kinds[case % 3], roots[case % 3], dice.choice(FILES)
        path = root / name / "raw" / (file + end)
        path.write_bytes(damaged(packed[end, file], dice, head=16))
        try:
            assert {data.fingerprint(data.mnist(name, root))} == right
        except ValueError as error:
            assert str(path.parent) in str(error) and "; put a good copy there" in str(error)
            assert "\n" not in str(error)
            refused += 1
        path.write_bytes(packed[end, file])
    assert refused > 0.8 * n
    tally("damaged data files", n, n)


@pytest.mark.parametrize("n", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_downloads_are_passed_over_or_right(n, few, tmp_path, monkeypatch, caplog, tally):
    """The first mirror sends damaged streams; the second one is good. Nothing damaged reaches the cache."""
    dice, packed, right = random.Random(n), archives(few), set()
    bad, good = Mirror({}), Mirror(packed)
    monkeypatch.setenv("VAECORE_MIRROR", bad.address)
    for case in range(n):
        name = ("MNIST", "KMNIST")[case % 2]
        monkeypatch.setattr(getattr(datasets, name), "mirrors", [good.address])
        spoilt = f"/{dice.choice(FILES)}.gz"
        bad.files = packed | {spoilt: damaged(packed[spoilt], dice, head=16)}
        for _ in range(2):  # the second one from the cache
            right.add(data.fingerprint(data.mnist(name)))
        shutil.rmtree(tmp_path / "cache")
    assert len(right) == 1 and caplog.messages == []
    assert len(good.asked) > 2 * n  # most of the damage was seen
    for mirror in (bad, good):
        mirror.close()
    tally("damaged downloads", n, n)


def test_kmnist_that_rots_in_the_cache_is_refused(few, tmp_path, monkeypatch):
    mirror = Mirror(archives(few))
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [mirror.address])
    data.mnist("KMNIST")
    mirror.close()
    path = tmp_path / "cache" / "vaecore" / "KMNIST" / "raw" / f"{FILES[0]}.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 4]) + whole[2001:])
    with pytest.raises(ValueError, match=r"ubyte.gz is a damaged gzip file .*; delete it and run again$"):
        data.mnist("KMNIST")


def test_a_cache_on_a_full_disk_or_a_read_only_one(few, tmp_path, monkeypatch, caplog, tally):
    """No room for any file, or for the larger ones only: the digits that travel along, and one sentence why."""
    mirror = Mirror(archives(few))
    monkeypatch.setenv("VAECORE_MIRROR", mirror.address)
    for n_bytes in (0, 20, 5000):
        with full_disk(n_bytes):
            assert len(data.mnist().x_train) == 8000
        assert not list((tmp_path / "cache" / "vaecore").iterdir())
    closed = "/sys" if Path("/sys").exists() else "/System"  # where not even root may write: Linux, macOS
    monkeypatch.setenv("XDG_CACHE_HOME", closed)
    assert len(data.mnist().x_train) == 8000
    assert ["File too large" in message for message in caplog.messages] == [True, True, True, False]
    assert f"{closed}/vaecore" in caplog.messages[-1]
    tally("disk full", 3, 3)
    mirror.close()


def test_a_read_only_cache_that_is_filled_is_read(few, tmp_path, caplog):
    raw = write(tmp_path / "cache" / "vaecore", few) / "MNIST" / "raw"
    for path in (*raw.iterdir(), raw):
        path.chmod(0o555)
    assert len(data.mnist().x_train) == 20 and caplog.messages == []
    raw.chmod(0o755)


def load(pipe, address: str, cache: Path) -> None:
    """In another process: the digits that travel along in MNIST's place, downloaded from the address alone."""
    os.environ.pop("VAECORE_DATA", None)
    os.environ |= {"VAECORE_MIRROR": address, "XDG_CACHE_HOME": str(cache), "VAECORE_BUILD": "1"}
    data.SHA256, datasets.MNIST.mirrors = data.PACKAGED_SHA256, []
    digits, raw = data.mnist(), cache / "vaecore" / "MNIST" / "raw"
    pipe.send((data.fingerprint(digits), sorted(path.name for path in raw.iterdir())))


def test_processes_that_download_at_once_and_one_that_is_killed(tmp_path, tally):
    files = archives(contents(PACKAGED))
    stalled, good = Mirror(files, "stalled"), Mirror(files)
    ours, theirs = processes.Pipe()

    def start(mirror):
        process = processes.Process(target=load, args=(theirs, mirror.address, tmp_path))
        process.start()
        return process

    victim = start(stalled)
    while not stalled.asked:
        assert victim.is_alive()
        time.sleep(0.01)
    victim.kill()
    victim.join()
    (left,) = (tmp_path / "vaecore").iterdir()
    assert left.name.startswith("unfinished-")

    running = [start(good) for _ in range(4)]
    found = [ours.recv() for _ in running]
    for process in running:
        process.join()
    assert found == [(data.fingerprint(data.mnist(root=PACKAGED)), sorted(FILES))] * 4
    assert [path for path in (tmp_path / "vaecore").iterdir() if path.name != "MNIST"] == [left]  # it may be at work

    os.utime(left, (0, 0))
    (tmp_path / "vaecore" / "MNIST" / "raw" / FILES[0]).unlink()
    start(good).join()
    assert ours.recv() == found[0]
    assert [path.name for path in (tmp_path / "vaecore").iterdir()] == ["MNIST"]
    for mirror in (stalled, good):
        mirror.close()
    tally("downloads at once", 4, 4)
    tally("download killed", 1, 1)
