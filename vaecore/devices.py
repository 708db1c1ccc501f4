"""Where and how models run: device, precision, threads, memory. Nothing here happens unless it is called."""

import contextlib
import ctypes
import os

import torch
from torch import nn

PRECISIONS = ("auto", "fp32", "bf16")


def pick_device(name: str = "auto") -> torch.device:
    """Return the named device ("cpu", "cuda", "cuda:1", "mps") or, for "auto", the best one here.

    Raises ValueError if it is unavailable.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))  # set by torchrun
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        here += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(f"name must be a device that is available ({', '.join(here)}); got {name!r}.") from error
    return device


def pick_precision(name: str, model: nn.Module) -> str:
    """Return "fp32" or "bf16"; "auto" is bf16 where the CPU has it natively and layers are at least 256 wide."""
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {name!r}.")
    if name != "auto":
        return name
    width = max((min(p.shape) for p in model.parameters() if p.ndim == 2), default=0)
    on_cpu = next(model.parameters()).device.type == "cpu"
    native = on_cpu and getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False)
    return "bf16" if native and width >= 256 else "fp32"


def use_half_the_cores() -> int:
    """Let torch use at most half of the cores, for a notebook next to other programs; return the number of threads.

    Threads that outnumber the cores wait for each other in turns, which makes training many times slower.
    $OMP_NUM_THREADS, where set, decides instead.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) // 2)))
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
