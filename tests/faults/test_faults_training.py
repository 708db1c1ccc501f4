"""Training that is killed or interrupted: it goes on from the last epoch saved, and ends as if nothing had happened."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from jupyter_client.manager import start_new_kernel
from small_runs import after_each_step, epochs_saved, images, processes, tiny, train, weights

from vaecore import checkpoints


def few_or_many(few: int, many: int):
    return pytest.mark.parametrize("n", [few, pytest.param(many, marks=pytest.mark.slow)])


def run(path: Path, epochs: int, patience: int) -> None:
    """A whole run, whose weights are saved next to its checkpoint; after `patience` steps it waits to be killed."""
    model, steps = tiny(), 0

    def each():
        nonlocal steps
        steps += 1
        if steps > patience:
            time.sleep(600)

    train(model, path, each, epochs=epochs)
    checkpoints.save(f"{path}.end", model)


@few_or_many(3, 30)
def test_killed_at_random_moments_it_ends_with_the_same_weights(n, tmp_path, tally):
    """SIGKILL anywhere, in a save for example; each life adds at least one epoch, and at most five or so."""
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


def interrupted(pipe, path: Path) -> None:
    """Train over and over until Ctrl-C; send whether the model is usable, and whether the run ends as it should."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # below a shell's background job it would be ignored
    model = tiny()
    try:
        pipe.send("training")
        while True:
            path.unlink(missing_ok=True)
            model = tiny()
            train(model, path)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        usable = model.elbo(images()).isfinite().all().item() and torch.is_grad_enabled()
        resumed = tiny(seed=path.exists())  # where a checkpoint should replace the weights, others at first
        train(resumed, path)
        pipe.send((usable, weights(resumed) == after_each_step()[-1]))


@few_or_many(4, 30)
def test_ctrl_c_leaves_a_whole_checkpoint_and_a_usable_model(n, tmp_path, tally):
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
    """A live kernel is stopped in the third epoch: the weights are the second's; the same cell, run again, goes on."""
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    manager, client = start_new_kernel(kernel_name="python3", env=surroundings)
    errors = []

    def cell(code: str) -> str:
        messages = []
        reply = client.execute_interactive(code, timeout=120, output_hook=messages.append)
        errors.append(reply["content"].get("ename", ""))
        return "".join(each["content"].get("text", "") for each in messages if each["msg_type"] == "stream")

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
        request = client.execute("train(model, path, each)")
        while not (tmp_path / "here").exists():
            assert manager.is_alive()
            time.sleep(0.02)
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != request:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert cell("print(steps.index(weights(model)), epochs_saved(path))") == "4 2\n"
        assert "3 epochs" in cell("print(train(model, path, each))")
        assert cell("print(steps.index(weights(model)), len(count))") == "6 8\n"  # two steps more were made
        assert not any(errors)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    tally("training interrupted", 1, 1)
