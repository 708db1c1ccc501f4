"""Data that come damaged, from a disk or over a wire: a clear sentence or the right digits, never wrong ones."""

import gzip
import hashlib
import os
import random
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mirror import FILES, Mirror, archives, contents, write
from small_runs import damaged, full_disk, processes

from vaecore import data, download

MANY = pytest.param(10_000, marks=pytest.mark.slow)


@pytest.fixture
def few(monkeypatch, tmp_path) -> dict[str, bytes]:
    """A set of 30 digits that passes for MNIST and KMNIST, so that a load takes no time."""
    monkeypatch.delenv("VAECORE_DATA", raising=False)
    monkeypatch.setenv("VAECORE_BUILD", "1")
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))  # before a second try
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sizes = dict(zip(FILES, (20, 20, 10, 10), strict=True))
    files = {}
    for file, whole in contents(data.BUNDLED).items():
        n_header, n_item = (16, 784) if "images" in file else (8, 1)
        n = sizes[file]
        files[file] = whole[:4] + n.to_bytes(4, "big") + whole[8 : n_header + n * n_item]
    monkeypatch.setattr(data, "SIZES", (20, 10))
    monkeypatch.setattr(data, "SHA256", {file: hashlib.sha256(whole).hexdigest() for file, whole in files.items()})
    md5 = tuple(hashlib.md5(packed).hexdigest() for packed in archives(files).values())
    for name in ("MNIST", "KMNIST"):
        monkeypatch.setitem(data.MIRRORS, name, ())
        monkeypatch.setitem(data.MD5, name, md5)
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
        monkeypatch.setitem(data.MIRRORS, name, (good.address,))
        spoilt = f"/{dice.choice(FILES)}.gz"
        bad.files = packed | {spoilt: damaged(packed[spoilt], dice, head=16)}
        for _ in range(2):  # the second one from the cache
            right.add(data.fingerprint(data.mnist(name)))
        shutil.rmtree(tmp_path / "cache")
    assert len(right) == 1 and caplog.messages == []
    assert len(good.asked) > 0.5 * n  # most of the damage was found
    for mirror in (bad, good):
        mirror.close()
    tally("damaged downloads", n, n)


def test_kmnist_that_rots_in_the_cache_is_refused(few, tmp_path, monkeypatch):
    mirror = Mirror(archives(few))
    monkeypatch.setitem(data.MIRRORS, "KMNIST", (mirror.address,))
    data.mnist("KMNIST")
    mirror.close()
    path = tmp_path / "cache" / "vaecore" / "KMNIST" / "raw" / f"{FILES[0]}.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 4]) + whole[2001:])
    with pytest.raises(ValueError, match=r"ubyte.gz is a damaged gzip file .*; move it away and run again"):
        data.mnist("KMNIST")


def test_a_cache_on_a_full_disk_or_a_read_only_one(few, tmp_path, monkeypatch, caplog, tally):
    """No room for any file, or for the larger ones only: the bundled digits; read-only: a temporary cache."""
    mirror = Mirror(archives(few))
    monkeypatch.setenv("VAECORE_MIRROR", mirror.address)
    for n_bytes in (0, 20, 2000):
        with full_disk(n_bytes):
            assert len(data.mnist().x_train) == 8000
        left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert all(path.read_bytes() == mirror.files[f"/{path.name}"] for path in left)
    closed = "/sys" if Path("/sys").exists() else "/System"  # where not even root may write: Linux, macOS
    for variable in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(variable, closed)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    download._temporary_place.cache_clear()
    assert len(data.mnist().x_train) == 20
    download._temporary_place.cache_clear()
    folder = tmp_path / "cache" / "vaecore" / "MNIST" / "raw"
    reason = f"({folder} cannot be written: File too large)"  # without a word on the mirror
    assert [reason in message for message in caplog.messages] == [True, True, True, False]
    assert f"{tmp_path}/vaecore-" in caplog.messages[-1]
    tally("disk full", 3, 3)
    mirror.close()


def test_a_read_only_cache_that_is_filled_is_read(few, tmp_path, caplog):
    raw = write(tmp_path / "cache" / "vaecore", few) / "MNIST" / "raw"
    for path in (*raw.iterdir(), raw):
        path.chmod(0o555)
    assert len(data.mnist().x_train) == 20 and caplog.messages == []
    raw.chmod(0o755)


def load(pipe, address: str, cache: Path, md5: tuple[str, ...]) -> None:
    """In another process: the bundled digits as MNIST, downloaded from the address alone."""
    os.environ.pop("VAECORE_DATA", None)
    os.environ |= {"VAECORE_MIRROR": address, "XDG_CACHE_HOME": str(cache), "VAECORE_BUILD": "1"}
    data.SHA256 = data.BUNDLED_SHA256
    data.MIRRORS["MNIST"], data.MD5["MNIST"] = (), md5
    pipe.send(data.fingerprint(data.mnist()))


def test_processes_that_download_at_once_and_one_that_is_killed(tmp_path, tally):
    files = archives(contents(data.BUNDLED))
    md5 = tuple(hashlib.md5(packed).hexdigest() for packed in files.values())
    stalled, good = Mirror(files, "stalled"), Mirror(files)
    ours, theirs = processes.Pipe()

    def start(mirror):
        process = processes.Process(target=load, args=(theirs, mirror.address, tmp_path, md5))
        process.start()
        return process

    victim = start(stalled)
    while not stalled.asked:
        assert victim.is_alive()
        time.sleep(0.01)
    victim.kill()
    victim.join()

    running = [start(good) for _ in range(4)]
    found = [ours.recv() for _ in running]
    for process in running:
        process.join()
    assert found == [data.fingerprint(data.mnist(root=data.BUNDLED))] * 4
    raw = tmp_path / "vaecore" / "MNIST" / "raw"
    assert {path: (raw / path[1:]).read_bytes() for path in files} == files
    for mirror in (stalled, good):
        mirror.close()
    tally("downloads at once", 4, 4)
    tally("download killed", 1, 1)
