"""Blocks of code whose random numbers come from a seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Within the block, draw from this seed; afterwards the caller's random state is as it was."""
    device = torch.device(device)
    cuda, mps = device.type == "cuda", device.type == "mps"
    on_cpu = torch.get_rng_state()
    on_device = torch.cuda.get_rng_state(device) if cuda else torch.mps.get_rng_state() if mps else None
    reseed(seed, device)
    try:
        yield
    finally:
        torch.set_rng_state(on_cpu)
        if cuda:
            torch.cuda.set_rng_state(on_device, device)
        if mps:
            torch.mps.set_rng_state(on_device)


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
