"""One training on several processes, and on a GPU."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from small_runs import images, processes

from vaecore import checkpoints
from vaecore.data import binarize
from vaecore.losses import autoencoder_loss, vae_loss
from vaecore.train import fit
from vaecore.vae import VAE

RUN = textwrap.dedent("""
    import sys
    from pathlib import Path
    from test_train_devices import train_a_share
    train_a_share(Path(sys.argv[1]), int(sys.argv[2]))
""")


def train_a_share(folder: Path, stop: int = 0, **surroundings: str) -> None:
    """In a process of its own: train on bits shared with the others, without noise, and note what is drawn."""
    os.environ |= surroundings
    rank, steps = os.environ.get("RANK", "0"), 0
    torch.set_num_threads(1)
    torch.manual_seed(int(rank))  # training begins everywhere with the weights of the first process
    model, x = VAE(d_x=100, d_z=4, hidden=(32,)), images().repeat(9, 1)[:899]
    draws = []

    def loss(x):  # without noise, so that the halves of a batch give the gradient of the whole
        nonlocal steps
        steps += 1
        if steps == stop:
            raise KeyboardInterrupt
        draws.append(f"{torch.rand(()).item()}\n")
        return autoencoder_loss(model, x)

    fit(model, loss, x, epochs=3, checkpoint=folder / "run")
    checkpoints.save(folder / f"final-{rank}", model)
    (folder / f"draws-{rank}").write_text("".join(draws))


def torchrun(folder: Path, stop: int = 0) -> int:
    folder.mkdir(exist_ok=True)
    script = folder / "train.py"
    script.write_text(RUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, folder]
    places = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    return subprocess.run([*command, str(stop)], env={**os.environ, "PYTHONPATH": places}).returncode


def distance(path, other) -> float:
    a, b = checkpoints.read(path)[0], checkpoints.read(other)[0]
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_two_processes_take_the_steps_of_one(tmp_path):
    """The last batch too, of three images, of which one process has two. Each process has its own noise."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = dict(
            TORCHELASTIC_RUN_ID="none", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free.getsockname()[1])
        )
    running = [(alone, {}), *((shared, group | dict(RANK=rank)) for rank in "01")]
    running = [processes.Process(target=train_a_share, args=(folder,), kwargs=more) for folder, more in running]
    for folder in (alone, shared):
        folder.mkdir()
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0, 0, 0]
    assert distance(shared / "final-0", shared / "final-1") == 0
    assert distance(shared / "final-0", alone / "final-0") < 1e-4
    cards = [checkpoints.read(folder / "run")[1] for folder in (shared, alone)]
    assert cards[0]["history"]["loss"] == pytest.approx(cards[1]["history"]["loss"], rel=1e-5)
    assert [card["run"]["processes"] for card in cards] == [2, 1]
    draws = [line for rank in (0, 1) for line in (shared / f"draws-{rank}").read_text().split()]
    assert len(draws) == 2 * 3 * 8 == len(set(draws))


@pytest.mark.slow
def test_two_processes_of_torchrun_resume_exactly(tmp_path):
    assert torchrun(tmp_path / "whole") == 0
    assert torchrun(tmp_path / "broken", stop=12) != 0  # in the second epoch of eight steps
    assert len(checkpoints.read(tmp_path / "broken" / "run")[1]["history"]["loss"]) == 1
    assert torchrun(tmp_path / "broken") == 0
    assert distance(tmp_path / "whole" / "final-1", tmp_path / "broken" / "final-1") == 0


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
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
