"""One training shared by the processes that torchrun starts; in a single process every function here does nothing."""

import os
from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from .devices import under_torchrun
from .seeds import reseed


def count() -> int:
    """How many processes train together: those of torchrun, or of the group that the caller has initialised."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return int(os.environ["WORLD_SIZE"]) if under_torchrun() else 1


def is_first() -> bool:
    """True in the process that writes files."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    return not under_torchrun() or int(os.environ["RANK"]) == 0


class SharedLoss(nn.Module):
    """A loss on this process's share of each batch, weighted so that the mean over processes is the whole batch's."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *batch: Tensor) -> Tensor:
        share = [tensor[distributed.get_rank() :: count()] for tensor in batch]
        return self.loss(*share) * (len(share[0]) * count() / len(batch[0]))


def share(
    model: nn.Module, loss: Callable[..., Tensor], smallest_batch: int, epochs_done: int
) -> Callable[..., Tensor]:
    """Return the loss or, of several processes, DistributedDataParallel around it, which averages the gradients.

    All processes start with the weights of the first. Raises ValueError if a batch has too few rows to share, or if
    the processes did not resume from the same epoch.
    """
    if count() == 1:
        return loss
    if smallest_batch < count():
        raise ValueError(f"{count()} processes cannot share a batch of {smallest_batch}; choose another batch_size.")
    if not distributed.is_initialized():
        on_cuda = next(model.parameters()).device.type == "cuda"
        distributed.init_process_group("nccl" if on_cuda else "gloo")
    of_all: list[int] = [0] * count()
    distributed.all_gather_object(of_all, epochs_done)
    if len(set(of_all)) > 1:
        raise ValueError(f"every process must see the same checkpoint; they have done {of_all} epochs.")
    return DistributedDataParallel(SharedLoss(model, loss), find_unused_parameters=True)


def separate_noise(seed: int, device: torch.device) -> None:
    """Give each process but the first a seed of its own."""
    if not is_first():
        reseed(seed + 10_007 * 1_000_003 * distributed.get_rank(), device)


def average(losses: Tensor) -> Tensor:
    """The mean over the processes."""
    if count() > 1:
        distributed.all_reduce(losses)
    return losses / count()
