"""Tiny training runs, and what may happen to them: processes to kill and to interrupt, a full disk, damaged bytes."""

import contextlib
import multiprocessing
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mirror import HTML
from torch import nn

from vaecore import checkpoints
from vaecore.train import History, fit
from vaecore.vae import VAE

# Each child is forked from one process that has imported the slow things, of which optimisers need _dynamo.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["vaecore.train", "vaecore.records", "torch._dynamo"])


def tiny(seed: int = 0, **sizes) -> VAE:
    torch.manual_seed(seed)
    return VAE(**dict(d_x=100, d_z=2, hidden=(16,)) | sizes)


def images() -> torch.Tensor:
    """The same hundred images of random bits at every call."""
    return torch.randint(0, 2, (100, 100), generator=torch.Generator().manual_seed(1)).float()


def train(model: nn.Module, path: Path | None = None, each: Callable[[], None] = lambda: None, **settings) -> History:
    """A run of two steps an epoch, each of which begins with a call of `each`."""
    torch.set_num_threads(1)

    def loss(x):
        each()
        return -model.elbo(x).mean()

    return fit(model, loss, images(), **dict(epochs=3, batch_size=50, checkpoint=path) | settings)


def weights(model: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def after_each_step() -> list[bytes]:
    """The weights of an undisturbed run: at its start and after each step."""
    model, steps = tiny(), []
    train(model, each=lambda: steps.append(weights(model)))
    return [*steps, weights(model)]


def epochs_saved(path: Path) -> int:
    return len(checkpoints.read(path)[1]["history"]["loss"]) if path.exists() else 0


@contextlib.contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """Within the block the system lets no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def damaged(whole: bytes, dice: random.Random, head: int) -> bytes:
    """The bytes with one fault of a disk or a wire, half of the time within the first `head`."""
    at = dice.randrange(min(head, len(whole)) if dice.random() < 0.5 else len(whole))
    end = at + dice.randrange(1, 40)
    noise = dice.randbytes(end - at)
    faults = {
        "cut off": whole[:at],
        "a bit": whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :],
        "a byte": whole[:at] + noise[:1] + whole[at + 1 :],
        "noise": whole[:at] + noise + whole[end:],
        "zeros": whole[:at] + bytes(end - at) + whole[end:],
        "left out": whole[:at] + whole[end:],
        "put in": whole[:at] + noise + whole[at:],
        "end of a page": whole[:at] + HTML,
        "twice": whole + whole[:end],
    }
    return faults[dice.choice(list(faults))]
