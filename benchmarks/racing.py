"""Variants that train in turn, each in its own process, and what is measured of a process as a whole."""

import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

Variant = Callable[[int], float]  # trains on so many images and returns the seconds that this took


class Clock:
    """Seconds of the device's work; without waiting for CUDA they would be those of asking for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


class Worker:
    """A variant in a process of its own, so that its settings (memory, threads, warnings) reach no other."""

    def __init__(self, make: Callable[[], Variant]) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self.here, there = context.Pipe()
        self.process = context.Process(target=serve, args=(make, there), daemon=True)
        self.process.start()
        there.close()
        self.error = self.here.recv()  # what was missing, or None

    def __call__(self, n: int) -> float:
        self.here.send(n)
        return self.here.recv()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def serve(make: Callable[[], Variant], pipe) -> None:
    try:
        train = make()
    except ImportError as error:
        pipe.send(str(error))
        return
    pipe.send(None)
    while True:
        pipe.send(train(pipe.recv()))


def race(variants: dict[str, Callable[[], Variant]], n_images: int, rounds: int) -> dict[str, list[float]]:
    """Images a second of each variant in each round; one round before these warms up.

    A variant whose package is not installed is left out.
    """
    workers = {name: Worker(make) for name, make in variants.items()}
    for name, worker in workers.items():
        if worker.error:
            print(f"{name}: left out ({worker.error}).", file=sys.stderr)
    racing = {name: worker for name, worker in workers.items() if not worker.error}
    rates: dict[str, list[float]] = {name: [] for name in racing}
    try:
        for turn in range(rounds + 1):
            for name, worker in racing.items():
                rate = n_images / worker(n_images)
                if turn:
                    rates[name].append(rate)
    finally:
        for worker in workers.values():
            worker.stop()
    return rates


def median_ratio(rates: dict[str, list[float]], of: str, to: str) -> float | None:
    if of not in rates or to not in rates:
        return None
    return round(statistics.median(a / b for a, b in zip(rates[of], rates[to], strict=True)), 3)


def rates_of(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median, lowest and highest rate of each variant."""
    return {
        name: dict(median=round(statistics.median(r)), low=round(min(r)), high=round(max(r)))
        for name, r in rates.items()
    }


def in_a_process(code: str):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory() -> float:
    """The most that this process has had in memory, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # not getrusage, which on Linux starts with what the parent had
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts in bytes
