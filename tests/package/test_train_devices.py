"""One training on several processes, and on CUDA as one recorded step."""

import contextlib
import os
import subprocess
import sys
import textwrap
import warnings
from types import SimpleNamespace

import pytest
import torch

from vaecore import checkpoints, evaluate
from vaecore.data import binarize
from vaecore.pretrained import vae_loss
from vaecore.train import Recorded, fit
from vaecore.vae import VAE

RUN = textwrap.dedent("""
    import os, sys, torch
    from vaecore import checkpoints, data, pretrained, train, vae
    folder, loss, *numbers = sys.argv[1:]
    epochs, stop, batch_size = map(int, numbers)
    rank = int(os.environ.get("RANK", 0))
    x = data.mnist(root=pretrained.PACKAGED).x_train[:1000]
    torch.manual_seed(rank)  # train begins everywhere with the weights of the first process
    draws = open(f"{folder}/draws-{rank}", "w")
    model, steps = vae.VAE(d_z=4, hidden=(32,)), 0

    def one(images):
        global steps
        steps += 1
        if steps == stop:
            raise KeyboardInterrupt
        if loss == "exact":
            return pretrained.autoencoder_loss(model, images / 255)
        print(torch.rand(()).item(), file=draws)
        return pretrained.vae_loss(model, data.binarize(images))

    train.fit(model, one, x, epochs=epochs, batch_size=batch_size, checkpoint=f"{folder}/run")
    checkpoints.save(f"{folder}/final-{rank}", model)
""")


def run(
    folder, n_processes: int, loss: str, epochs: int = 3, stop: int = 0, batch_size: int = 128
) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    script = folder / "train.py"
    script.write_text(RUN)
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes)]
    command = [sys.executable, *several[: 5 * (n_processes > 1)], script, folder, loss]
    command += map(str, (epochs, stop, batch_size))
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True)


def weights(path) -> dict[str, torch.Tensor]:
    return checkpoints.read(path)[0]


def distance(a: dict, b: dict) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_two_processes_take_the_steps_of_one(tmp_path):
    """A loss without noise: the two halves of each batch give the gradient of the whole, the shorter last one too."""
    alone, both = tmp_path / "alone", tmp_path / "both"
    for folder, n_processes in ((alone, 1), (both, 2)):
        done = run(folder, n_processes, "exact", batch_size=128)
        assert done.returncode == 0, done.stderr[-3000:]
    first, second = (weights(both / f"final-{rank}") for rank in (0, 1))
    assert distance(first, second) == 0
    assert distance(first, weights(alone / "final-0")) < 1e-4
    losses = [checkpoints.read(folder / "run")[1]["history"]["loss"] for folder in (both, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_two_processes_reach_the_elbo_of_one(tmp_path, digits):
    alone, both = tmp_path / "alone", tmp_path / "both"
    for folder, n_processes in ((alone, 1), (both, 2)):
        done = run(folder, n_processes, "noisy", epochs=40)
        assert done.returncode == 0, done.stderr[-3000:]
    draws = [line for rank in (0, 1) for line in (both / f"draws-{rank}").read_text().split()]
    assert len(draws) == 2 * 40 * 8 and len(set(draws)) > 0.99 * len(draws)  # noise of its own in each process
    bounds = []
    for path in (both / "final-0", alone / "final-0"):
        bounds.append(evaluate.elbo(checkpoints.load(path)[0], (digits.x_test > 127).float()).mean().item())
    assert bounds[0] == pytest.approx(bounds[1], abs=2) and bounds[0] > -225
    assert distance(*(weights(path) for path in (both / "final-0", alone / "final-0"))) > 1e-3


@pytest.mark.slow
def test_two_processes_resume_exactly(tmp_path):
    assert run(tmp_path / "whole", 2, "noisy").returncode == 0
    assert run(tmp_path / "broken", 2, "noisy", stop=12).returncode != 0  # in the second epoch of eight steps
    assert len(checkpoints.read(tmp_path / "broken" / "run")[1]["history"]["loss"]) == 1
    assert run(tmp_path / "broken", 2, "noisy").returncode == 0
    assert distance(weights(tmp_path / "whole" / "final-1"), weights(tmp_path / "broken" / "final-1")) == 0


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    done = run(tmp_path, 2, "noisy", batch_size=111)  # 1000 = 9 * 111 + 1
    assert done.returncode != 0
    assert "2 processes cannot share a batch of 1; choose another batch_size." in done.stderr


@pytest.fixture
def imitated(monkeypatch):
    """CUDA's graphs, imitated: what is called while one is recorded is run at its replays only."""
    log = []

    class Graph:
        def replay(self):
            log.append("replayed")

    @contextlib.contextmanager
    def record(graph):
        log.append("begin")
        yield
        log.append("end")

    @contextlib.contextmanager
    def nothing(*_):
        yield

    stream = SimpleNamespace(wait_stream=lambda other: None)
    cuda = dict(CUDAGraph=Graph, graph=record, device=nothing, stream=nothing)
    cuda |= dict(Stream=lambda device: stream, current_stream=lambda device: stream)
    cuda |= dict(get_sync_debug_mode=lambda: 0, set_sync_debug_mode=lambda mode: None)
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return log


def test_a_step_is_recorded_after_three_calls(imitated):
    step = Recorded(lambda: imitated.append("run"), torch.device("cuda"))
    for _ in range(5):
        step()
    assert imitated == ["run"] * 3 + ["begin", "run", "end"] + ["replayed"] * 2


def test_a_step_that_makes_the_host_wait_is_never_recorded(imitated):
    def waits():
        imitated.append("run")
        if len(imitated) == 2:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)

    step = Recorded(waits, torch.device("cuda"))
    for _ in range(5):
        step()
    assert imitated == ["run"] * 5


on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


@on_cuda
@pytest.mark.parametrize("waits", [False, True])
def test_the_recorded_step_trains_as_the_plain_one(digits, waits, monkeypatch):
    x, replays = digits.x_train[:1000].cuda(), []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: replays.append(1) or replay(graph))

    def trained(recorded: bool):
        torch.manual_seed(0)
        model = VAE(d_z=4, hidden=(64,)).cuda()
        if not recorded:
            monkeypatch.setattr(Recorded, "__call__", lambda self: self.step())

        def loss(images):
            value = vae_loss(model, binarize(images))
            return value + 0 * value.item() if waits else value

        fit(model, loss, x, epochs=6)
        return [p.detach().cpu() for p in model.parameters()]

    recorded = trained(recorded=True)
    assert bool(replays) != waits
    for a, b in zip(recorded, trained(recorded=False), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@on_cuda
def test_a_resumed_run_on_cuda_is_exact(digits, tmp_path):
    def trained(name: str, stop: int = 0):
        torch.manual_seed(0)
        model = VAE(d_z=4, hidden=(64,)).cuda()

        def test():
            nonlocal stop
            stop -= 1
            if stop == 0:
                raise KeyboardInterrupt
            return 0.0

        x = digits.x_train[:1000].cuda()
        fit(model, lambda images: vae_loss(model, binarize(images)), x, epochs=6, checkpoint=tmp_path / name, test=test)
        return weights(tmp_path / name)

    whole = trained("whole")
    with pytest.raises(KeyboardInterrupt):
        trained("broken", stop=4)
    assert distance(whole, trained("broken")) == 0
