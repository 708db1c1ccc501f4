"""Where and how models run: device, precision, threads, memory. Nothing here happens unless it is called."""

import contextlib
import ctypes
import functools
import os
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

PRECISIONS = ("auto", "fp32", "bf16")


def under_torchrun() -> bool:
    """Whether torchrun started this process; RANK and WORLD_SIZE do not say so, since batch systems set them too."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def pick_device(name: str = "auto") -> torch.device:
    """Return the named device ("cpu", "cuda", "cuda:1", "mps") or, for "auto", the best one here.

    Raises ValueError if it is unavailable.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]) if under_torchrun() else 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        here += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(f"name must be a device that is available ({', '.join(here)}); got {name!r}.") from error
    return device


def pick_precision(name: str, model: nn.Module, batch_size: int = 128) -> str:
    """Return "fp32" or "bf16"; "auto" is bf16 on a CPU that multiplies it faster, as measured on the largest layer.

    The measurement takes some 30 ms, once a process for each shape. Layers under 256 wide gain nothing in bf16.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {name!r}.")
    if name != "auto":
        return name
    largest = max((p for p in model.parameters() if p.ndim == 2), key=lambda p: p.numel(), default=None)
    if largest is None or min(largest.shape) < 256 or (largest.device.type, largest.dtype) != ("cpu", torch.float32):
        return "fp32"
    fp32, bf16 = layer_seconds(*largest.shape, batch_size)
    return "bf16" if bf16 < 0.8 * fp32 else "fp32"  # the rest of a step gains nothing


@functools.cache
@torch.enable_grad()
def layer_seconds(d_out: int, d_in: int, batch_size: int) -> tuple[float, float]:
    """The seconds that a layer takes, forwards and backwards, in fp32 and in bf16: each the best of five.

    Seconds of one thread at work, which do not count those in which other programs have its core.
    """
    how: Any = dict(dtype=torch.float32, device="cpu", requires_grad=True)  # whatever torch's defaults are
    weight, x = torch.full((d_out, d_in), 0.01, **how), torch.full((batch_size, d_in), 0.01, **how)

    def seconds(in_bf16: bool) -> float:
        start = time.thread_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16):
            out = F.linear(x, weight)
        out.square().sum().backward()
        return time.thread_time() - start

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pairs = [(seconds(False), seconds(True)) for _ in range(5)]
    finally:
        torch.set_num_threads(n_threads)
    return min(fp32 for fp32, _ in pairs), min(bf16 for _, bf16 in pairs)


def n_cores() -> int:
    """How many cores this process may use; a batch system, or a container, may give it a few of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_half_the_cores() -> int:
    """Let torch use at most half of the cores, for a notebook next to other programs; return the number of threads.

    Threads that outnumber the cores wait for each other in turns, which makes training many times slower.
    $OMP_NUM_THREADS, where set, decides instead.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, n_cores() // 2)))
    return torch.get_num_threads()


def keep_freed_memory() -> None:
    """Tell glibc to keep up to 256 MB of freed memory for the next training step instead of returning it.

    By default every step returns its large tensors to the system and pays for empty pages again. On other C libraries
    this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-3, 64 * 2**20)  # M_MMAP_THRESHOLD: only larger pieces are mapped one by one
        mallopt(-1, 256 * 2**20)  # M_TRIM_THRESHOLD
