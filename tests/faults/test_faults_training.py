"""Training that is killed or interrupted: it goes on from the last epoch saved, and ends as if nothing had happened."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from jupyter_client.manager import start_new_kernel
from small_runs import after_each_step, epochs_saved, processes, tiny, train, weights

from vaecore import checkpoints
from vaecore.train import fit


def few_or_many(few: int, many: int):
    return pytest.mark.parametrize("n", [few, pytest.param(many, marks=pytest.mark.slow)])


def run(path: Path, epochs: int, patience: int) -> None:
    """A whole run, whose weights are saved beside its checkpoint; after `patience` steps it waits to be killed."""
    model, steps = tiny(), 0

    def each():
        nonlocal steps
        steps += 1
        if steps > patience:
            time.sleep(600)

    train(model, path, epochs, each)
    checkpoints.save(f"{path}.end", model)


@few_or_many(3, 30)
def test_killed_at_random_moments_it_ends_with_the_same_weights(n, tmp_path, tally):
    """SIGKILL anywhere, in a save for example; each life sees one epoch more at least, and five or so at most."""
    dice, path, epochs = random.Random(n), tmp_path / "killed", 8 * n
    for _ in range(n):
        done = epochs_saved(path)
        process = processes.Process(target=run, args=(path, epochs, 10))
        process.start()
        while epochs_saved(path) == done:
            assert process.is_alive()
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL and done < epochs_saved(path) < epochs
    for name in ("killed", "whole"):
        process = processes.Process(target=run, args=(tmp_path / name, epochs, 2 * epochs))
        process.start()
        process.join()
        assert process.exitcode == 0
    killed, whole = (weights(checkpoints.load(tmp_path / f"{name}.end")[0]) for name in ("killed", "whole"))
    assert killed == whole
    tally("training killed", n, n)


def goes_on(path: Path) -> bytes:
    """The weights when the run is started once more; where a checkpoint should replace them, with others at first."""
    model = tiny(seed=path.exists())
    train(model, path)
    return weights(model)


def interrupt_at(line: int | None, call) -> int:
    """Ctrl-C as Python raises it, at the so-manieth line that the call runs; returns how many lines it came to."""
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        if lines == line and event == "line":
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


# where the line lies in a generator that is just being closed, Python cannot hand the interrupt on, and warns
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@few_or_many(60, 500)
def test_interrupted_at_any_line_the_model_keeps_a_whole_step(n, tmp_path, tally):
    """A fresh run, and one that goes on, in turn: every line of fit, of torch's optimiser and of a save may be hit."""
    steps, dice, raised = after_each_step(), random.Random(n), 0
    path, lengths = tmp_path / "half", {}
    with pytest.raises(StopIteration):  # in the second epoch
        train(tiny(), path, each=iter(range(2)).__next__)
    assert epochs_saved(path) == 1
    half = path.read_bytes()
    for case in range(n + 2):
        path, resumed = tmp_path / str(case), bool(case % 2)
        if resumed:
            path.write_bytes(half)
        model = tiny(seed=resumed)
        first = weights(model)
        if case < 2:  # not interrupted, to see how many lines there are
            lengths[resumed] = interrupt_at(None, lambda: train(model, path))  # noqa: B023
        else:
            try:
                interrupt_at(dice.randrange(1, lengths[resumed]), lambda: train(model, path))  # noqa: B023
            except KeyboardInterrupt:
                raised += 1
        assert weights(model) in [first, *steps] and torch.is_grad_enabled()
        assert goes_on(path) == steps[-1]
    assert raised > 0.9 * n  # Python swallows what is raised in a finaliser
    assert not list(tmp_path.glob(".*"))
    tally("training interrupted", n, n)


@pytest.mark.parametrize("of_torch", ["autocast_decrement_nesting", "set_autocast_enabled"])
def test_ctrl_c_while_torch_leaves_autocast(of_torch, monkeypatch):
    """Else everything after it would be computed in bf16, and with copies of the weights that grow old."""
    real = getattr(torch, of_torch)

    def torn(*arguments):
        monkeypatch.setattr(torch, of_torch, real)
        raise KeyboardInterrupt

    def train_in_bf16(at_step=None):
        model, steps = tiny(), iter(range(8))

        def loss(x):
            if next(steps) == at_step:
                monkeypatch.setattr(torch, of_torch, torn)
            return -model.elbo(x).mean()

        fit(model, loss, torch.eye(4, 100), epochs=2, batch_size=1, lr=0.1, precision="bf16")
        return weights(model)

    whole = train_in_bf16()
    with pytest.raises(KeyboardInterrupt):
        train_in_bf16(at_step=5)
    assert not torch.is_autocast_enabled("cpu")
    assert train_in_bf16() == whole


def interrupted(pipe, path: Path) -> None:
    """Trains over and over until Ctrl-C; tells whether the weights are a whole step's, and what comes of going on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # below a shell's background job it would be ignored
    steps, model = after_each_step(), tiny()
    try:
        pipe.send("training")
        while True:
            path.unlink(missing_ok=True)
            model = tiny()
            train(model, path)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        pipe.send((weights(model) in steps, goes_on(path) == steps[-1]))


@few_or_many(4, 30)
def test_ctrl_c(n, tmp_path, tally):
    """A real signal, at a random moment."""
    dice = random.Random(n)
    for case in range(n):
        ours, theirs = processes.Pipe()
        process = processes.Process(target=interrupted, args=(theirs, tmp_path / str(case)))
        process.start()
        assert ours.recv() == "training"
        time.sleep(dice.uniform(0, 0.1))
        for _ in range(5):  # one more where a finaliser has swallowed it
            os.kill(process.pid, signal.SIGINT)
            if ours.poll(10):
                break
        assert ours.poll() and ours.recv() == (True, True)
        process.join()
    assert not list(tmp_path.glob(".*"))
    tally("training interrupted", n, n)


def test_the_stop_button_of_a_notebook(tmp_path, tally):
    """A live kernel is interrupted in the middle of the third epoch; the same cell, run again, ends the run."""
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    manager, client = start_new_kernel(kernel_name="python3", env=surroundings)
    errors = []

    def cell(code: str) -> str:
        said = []
        reply = client.execute_interactive(code, timeout=120, output_hook=said.append)
        errors.append(reply["content"].get("ename", ""))
        return "".join(message["content"].get("text", "") for message in said if message["msg_type"] == "stream")

    try:
        cell(f"""
import pathlib, time
from small_runs import after_each_step, epochs_saved, tiny, train, weights
path, steps, model = pathlib.Path({str(tmp_path / "run")!r}), after_each_step(), tiny()
count = []
def each():
    count.append(1)
    if len(count) == 6:
        pathlib.Path({str(tmp_path / "here")!r}).touch()
        time.sleep(600)
""")
        request = client.execute("train(model, path, each=each)")
        while not (tmp_path / "here").exists():
            assert manager.is_alive()
            time.sleep(0.02)
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != request:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert cell("print(steps.index(weights(model)), epochs_saved(path))") == "5 2\n"
        assert "3 epochs" in cell("print(train(model, path, each=each))")
        assert cell("print(steps.index(weights(model)), len(count))") == "6 8\n"  # two steps more were made
        assert not any(errors)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    tally("training interrupted", 1, 1)
