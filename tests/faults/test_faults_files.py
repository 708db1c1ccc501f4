"""Checkpoints and results on a bad disk or among several writers: whole or not at all, and never wrong."""

import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from mirror import Mirror
from safetensors.torch import save_file
from small_runs import after_each_step, damaged, epochs_saved, full_disk, processes, tiny, train, weights

from vaecore import checkpoints, download, records
from vaecore.vae import VAE


@pytest.mark.parametrize("n", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_checkpoints_are_refused_or_right(n, tmp_path, tally):
    """The header with its offsets and card, and the numbers: what a load gives is what was saved, to the bit."""
    dice, refused = random.Random(n), 0
    torch.manual_seed(0)
    model = VAE(d_x=10, d_z=2, hidden=(4,))
    path = checkpoints.save(tmp_path / "weights", model, {"moment": torch.rand(5)}, note="whole")
    whole, (tensors, card) = path.read_bytes(), checkpoints.read(path)
    n_header = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(n):
        path.write_bytes(damaged(whole, dice, n_header))
        try:
            loaded, its_card = checkpoints.load(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert weights(loaded) == weights(model) and its_card == card
            assert all(torch.equal(t, tensors[name]) for name, t in checkpoints.read(path)[0].items())
    assert refused > 0.9 * n
    tally("damaged checkpoints", n, n)


def test_what_is_no_checkpoint(tmp_path):
    """Never with the advice to delete a file that vaecore did not make."""
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoints.load(tmp_path / "missing")
    (model := tiny()).config = {"d_pixels": 100}
    path = checkpoints.save(tmp_path / "weights", model)
    with pytest.raises(ValueError, match="weights is from another vaecore"):
        checkpoints.load(path)
    save_file(tiny().state_dict(), path)
    foreign = [path.read_bytes()]
    torch.save(tiny().state_dict(), path)
    foreign += [path.read_bytes(), b"", b"{}", b"<html>404</html>", struct.pack("<Q", 2**63) + bytes(99)]
    for contents in foreign:
        path.write_bytes(contents)
        for use in (lambda: checkpoints.load(path), lambda: train(tiny(), path)):
            with pytest.raises(ValueError, match="weights is no vaecore checkpoint, or it is damaged") as caught:
                use()
            assert "delete" not in str(caught.value) and path.read_bytes() == contents


def test_a_damaged_copy_in_the_cache_is_fetched_again(tmp_path, monkeypatch):
    contents = checkpoints.save(tmp_path / "weights", tiny()).read_bytes()
    known = f"sha256:{hashlib.sha256(contents).hexdigest()}"
    monkeypatch.setenv("VAECORE_BUILD", "1")
    site = Mirror({"/weights": contents})
    path = tmp_path / "cache" / "weights"
    for damaged_copy in (None, contents[:-1]):
        if damaged_copy:
            path.write_bytes(damaged_copy)
        assert download.fetch(f"{site.address}weights", known, path).read_bytes() == contents
    site.close()


def test_on_a_full_disk_the_previous_file_is_kept(tmp_path, tally):
    """The system lets the file grow to every n-th byte, with an error as that of a full disk; then there is room."""
    run, result = tmp_path / "run", tmp_path / "results" / "row-1.json"
    with pytest.raises(StopIteration):  # in the second epoch
        train(tiny(), run, iter(range(2)).__next__)
    records.write(result, {"value": 1})
    writers = {
        run: lambda: train(tiny(), run),
        result: lambda: records.write(result, {"value": 2, "settings": list(range(100))}),
        tmp_path / "new": lambda: checkpoints.save(tmp_path / "new", tiny()),
    }
    n = 0
    for path, write in writers.items():
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for n_bytes in (0, 1, 100, 399, 2000, 10_000)[: 4 if path == result else 6]:
            with full_disk(n_bytes), pytest.raises(OSError) as caught:
                write()
            assert f"{path} could not be written (File too large)" in str(caught.value)
            assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
            n += 1
        write()
    assert epochs_saved(run) == 3 and weights(checkpoints.load(run)[0]) == after_each_step()[-1]
    assert json.loads(result.read_text())["value"] == 2
    tally("disk full", n, n)


def write_for_ever(folder: Path, seed: int) -> None:
    model = tiny(seed)
    while True:
        checkpoints.save(folder / "weights", model, note=seed)
        records.write(folder / "result.json", {"seed": seed, "long": [seed] * 5000})


def test_two_writers_of_one_file(tmp_path, tally):
    """Each read sees one whole file of one writer; a writer killed in the middle leaves nothing for good."""
    models = [weights(tiny(seed)) for seed in range(2)]
    writers = [processes.Process(target=write_for_ever, args=(tmp_path, seed)) for seed in range(2)]
    for writer in writers:
        writer.start()
    reads, n, path, result = set(), 0, tmp_path / "weights", tmp_path / "result.json"
    try:
        while not (path.exists() and result.exists()):
            assert all(writer.is_alive() for writer in writers)
            time.sleep(0.01)
        while n < 300 or len(reads) < 4:
            model, card = checkpoints.load(path)  # raises for a mixture, whose checksum is wrong
            assert weights(model) == models[card["note"]]
            record = json.loads(result.read_text())
            assert record["long"] == [record["seed"]] * 5000
            reads |= {("weights", card["note"]), ("result", record["seed"])}
            n += 2
        assert all(writer.is_alive() for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    tally("reads next to two writers", n, n)

    for left in tmp_path.glob(".*.part"):
        os.utime(left, (0, 0))
    young, another = tmp_path / ".weights.0.part", tmp_path / ".other.0.part"
    for part in (young, another):
        part.touch()
    os.utime(another, (0, 0))
    checkpoints.save(path, tiny())
    records.write(result, {})
    assert sorted(tmp_path.iterdir()) == sorted([another, young, result, path])  # not what may still be written


def test_an_own_class_is_not_loaded_as_the_one_whose_name_it_has(tmp_path):
    own = type("VAE", (VAE,), dict(__module__="notebook"))
    path = checkpoints.save(tmp_path / "weights", own(d_z=2, hidden=(4,)))
    with pytest.raises(ValueError, match=r"notebook\.VAE"):
        checkpoints.load(path)


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "weights"
    link.symlink_to(tmp_path / "disk" / "weights")
    checkpoints.save(link, tiny())
    assert link.is_symlink() and (tmp_path / "disk" / "weights").is_file()


def test_a_new_file_is_as_open_as_others(tmp_path):
    before = os.umask(0o027)
    try:
        assert checkpoints.save(tmp_path / "weights", tiny()).stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


# ---- Nothing that is read can run: only safetensors, JSON and plain arrays are

UNPICKLERS = ("torch.load", "torch.jit.load", "torch.hub.load", "pandas.read_pickle", "joblib.load")
RUNNERS = """import pickle
from dill import loads
from joblib import load as read
torch.load(path, weights_only=True)
exec(line)
[eval(line) for line in file]
yaml.load(file)"""


def offences(*paths: Path) -> list[tuple[str, int]]:
    """File and line of what could load a pickle or run what was read."""
    banned = ", ".join(f'"{name}" = {{msg = "unpickles"}}' for name in UNPICKLERS)
    rules = ["--select", "S102,S301,S302,S307,S403,S506,TID251", "--output-format", "json", "--isolated", "--preview"]
    rules += ["--config", f"lint.flake8-tidy-imports.banned-api = {{{banned}}}"]
    run = subprocess.run([sys.executable, "-m", "ruff", "check", *rules, *paths], capture_output=True, text=True)
    return [(Path(found["filename"]).name, found["location"]["row"]) for found in json.loads(run.stdout)]


def test_nothing_that_is_read_can_run(tmp_path):
    path = tmp_path / "runs.py"
    path.write_text(f"import torch, yaml\n{RUNNERS}\n")
    assert {row for _, row in offences(path)} == set(range(2, 9))
    assert offences(*(ROOT / folder for folder in ("vaecore", "book", "tools", "benchmarks"))) == []
