"""One training on several processes, and on a GPU."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from vaecore import checkpoints
from vaecore.data import binarize
from vaecore.losses import vae_loss
from vaecore.train import fit
from vaecore.vae import VAE

RUN = textwrap.dedent("""
    import os, sys, torch
    from vaecore import checkpoints, data, losses, train, vae
    folder, stop = sys.argv[1], int(sys.argv[2])
    rank = os.environ.get("RANK", "0")
    x = data.mnist(root=data.BUNDLED).x_train[:1000]
    torch.manual_seed(int(rank))  # training begins everywhere with the weights of the first process
    draws = open(f"{folder}/draws-{rank}", "w")
    model, steps = vae.VAE(d_z=4, hidden=(32,)), 0

    def loss(images):  # without noise, so that the halves of a batch give the gradient of the whole
        global steps
        steps += 1
        if steps == stop:
            raise KeyboardInterrupt
        print(torch.rand(()).item(), file=draws)
        return losses.autoencoder_loss(model, images / 255)

    train.fit(model, loss, x, epochs=3, checkpoint=f"{folder}/run")
    checkpoints.save(f"{folder}/final-{rank}", model)
""")


def run(folder, n_processes: int, stop: int = 0) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    script = folder / "train.py"
    script.write_text(RUN)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes)]
    command = [sys.executable, *torchrun[: 5 * (n_processes > 1)], script, folder, str(stop)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True)


def distance(path, other) -> float:
    a, b = checkpoints.read(path)[0], checkpoints.read(other)[0]
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_two_processes_take_the_steps_of_one(tmp_path):
    """The shorter last batch too. Each process has its own noise."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    for folder, n_processes in ((alone, 1), (shared, 2)):
        done = run(folder, n_processes)
        assert done.returncode == 0, done.stderr[-3000:]
    assert distance(shared / "final-0", shared / "final-1") == 0
    assert distance(shared / "final-0", alone / "final-0") < 1e-4
    cards = [checkpoints.read(folder / "run")[1] for folder in (shared, alone)]
    assert cards[0]["history"]["loss"] == pytest.approx(cards[1]["history"]["loss"], rel=1e-5)
    assert [card["run"]["processes"] for card in cards] == [2, 1]
    draws = [line for rank in (0, 1) for line in (shared / f"draws-{rank}").read_text().split()]
    assert len(draws) == 2 * 3 * 8 == len(set(draws))


@pytest.mark.slow
def test_two_processes_resume_exactly(tmp_path):
    assert run(tmp_path / "whole", 2).returncode == 0
    assert run(tmp_path / "broken", 2, stop=12).returncode != 0  # in the second epoch of eight steps
    assert len(checkpoints.read(tmp_path / "broken" / "run")[1]["history"]["loss"]) == 1
    assert run(tmp_path / "broken", 2).returncode == 0
    assert distance(tmp_path / "whole" / "final-1", tmp_path / "broken" / "final-1") == 0


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    x = torch.ones(5, 20)
    model = VAE(d_x=20, d_z=2, hidden=(4,))
    with pytest.raises(ValueError, match="2 processes cannot share a batch of 1; choose another batch_size"):
        fit(model, lambda x: vae_loss(model, x), x, epochs=1, batch_size=2)


on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


@on_cuda
@pytest.mark.parametrize("d_y", [0, 10])
def test_cpu_and_cuda_agree(digits, d_y):
    """One step in float32 from the same weights with the same noise."""
    torch.manual_seed(0)
    start = VAE(d_z=8, hidden=(128,), d_y=d_y)
    x, y, epsilon = (digits.x_train[:100] > 127).float(), digits.y_train[:100], torch.randn(100, 8)
    results = []
    for device in ("cpu", "cuda"):
        model = VAE(**start.config).to(device)
        model.load_state_dict(start.state_dict())
        batch = [tensor.to(device) for tensor in ((x, y) if d_y else (x,))]
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        posterior = model.encode(*batch)
        likelihood = model.decode(posterior.mu + posterior.sigma * epsilon.to(device), *batch[1:])
        elbo = likelihood.log_prob(batch[0]) - posterior.kl()
        (-elbo.mean()).backward()
        optimizer.step()
        results.append([elbo.mean().detach().cpu() / 784, *(p.detach().cpu() for p in model.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@on_cuda
def test_a_resumed_run_on_cuda_is_exact(digits, tmp_path):
    def train(name: str, stop_after: int = 0):
        torch.manual_seed(0)
        model, tests = VAE(d_z=4, hidden=(64,)).cuda(), []

        def test():
            tests.append(1)
            if len(tests) == stop_after:
                raise KeyboardInterrupt
            return 0.0

        x = digits.x_train[:1000].cuda()
        fit(model, lambda images: vae_loss(model, binarize(images)), x, epochs=6, checkpoint=tmp_path / name, test=test)

    train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("broken", stop_after=4)
    train("broken")
    assert distance(tmp_path / "whole", tmp_path / "broken") == 0
