"""Blocks of code whose random numbers come from a seed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_turn = threading.RLock()


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Within the block, draw from this seed; afterwards the caller's random state is as it was.

    All threads of a process draw from one random state, so those that come to such a block take turns.
    """
    device = torch.device(device)
    with _turn:
        on_cpu = torch.get_rng_state()
        on_cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        on_mps = torch.mps.get_rng_state() if device.type == "mps" else None
        reseed(seed, device)
        try:
            yield
        finally:
            torch.set_rng_state(on_cpu)
            if on_cuda is not None:
                torch.cuda.set_rng_state(on_cuda, device)
            if on_mps is not None:
                torch.mps.set_rng_state(on_mps)


def reseed(seed: int, device: torch.device) -> None:
    """From here on, the CPU and this device draw from the seed; other devices are left alone."""
    if not 0 <= seed < 2**62:
        raise ValueError(f"seed must be from 0 to 2**62 - 1; got {seed}.")
    torch.default_generator.manual_seed(int(seed))  # torch.manual_seed would reseed every device
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(int(seed))
    if device.type == "mps":
        torch.mps.manual_seed(int(seed))
