"""Mutants of the modules that hold the mathematics: the tests notice each one that is not listed with its reason."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

SURVIVORS = ROOT / "tests" / "survivors.json"  # "module: the line -> what became of it": why no test can or need notice


@pytest.mark.slow
def test_every_mutant_is_noticed(tally):
    run = subprocess.run([sys.executable, "-m", "tests.mutants"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    mutants = [json.loads(line) for line in run.stdout.splitlines()]
    alive = {f"{m['module']}: {m['old']} -> {m['new']}" for m in mutants if m["found"] == "nothing"}
    killed = len([m for m in mutants if m["found"] != "nothing"])
    tally("mutants", len(mutants), killed)
    known = json.loads(SURVIVORS.read_text(encoding="utf-8"))
    assert alive == set(known), "those that survive, and those that are listed"
    assert all(known.values()) and killed >= 0.95 * len(mutants)
