"""How fast is training? `python -m benchmarks.speed [PART ...] [--quick] [--device cpu] [--json FILE]`

Ours, a common tutorial's loop, Pyro and pythae on the same nets, next to what the matrix products alone would take.
The variants take turns, round by round. What counts is the median over the rounds of a ratio within one round: then a
neighbour that slows the machine for a while slows both. Pyro and pythae come with `pip install -e ".[benchmarks]"`;
without one of them its rows are left out. With parts named, a record that is there already keeps the others.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from vaecore import checkpoints, data, evaluate, records
from vaecore.devices import pick_device
from vaecore.download import cache_folder
from vaecore.losses import vae_loss
from vaecore.m2 import M2
from vaecore.seeds import seeded
from vaecore.train import fit
from vaecore.vae import VAE

from . import peers
from .peers import M1, M1_BATCH, M2_BATCH
from .racing import Clock, Variant, in_a_process, median_ratio, race, rates_of

PARTS = ("m1", "m2", "scaling", "side_by_side", "start_up", "quality")


def ours(model: nn.Module, loss: Callable, images: Tensor, batch_size: int, precision: str) -> Variant:
    """One epoch of `fit`, by its own History."""
    model = model.to(images.device)

    def train(n: int) -> float:
        settings = dict(epochs=1, batch_size=batch_size, lr=1e-3, schedule="constant", precision=precision)
        return fit(model, partial(loss, model), images[:n], **settings).seconds[0]

    return train


def m1_loss(model: VAE, images: Tensor) -> Tensor:
    return vae_loss(model, data.binarize(images))


def m2_loss(model: M2, images: Tensor) -> Tensor:
    return -model.unlabelled_bound(data.binarize(images)).mean()


def products(shapes: list[tuple[int, int, int, bool]], device: torch.device, dtype: torch.dtype, batch: int) -> Variant:
    """The matrix products of a step alone: forwards, and backwards for weights and, where asked, for inputs."""
    clock, pairs = Clock(device), []
    for rows, d_in, d_out, to_input in shapes:
        x, w, g = (torch.randn(s, device=device, dtype=dtype) for s in ((rows, d_in), (d_in, d_out), (rows, d_out)))
        pairs += [(x, w), (x.T, g)] + ([(g, w.T)] if to_input else [])

    def train(n: int) -> float:
        start = clock()
        for _ in range(-(-n // batch)):
            for a, b in pairs:
                torch.mm(a, b)
        return clock() - start

    return train


def chain(rows: int, *sizes: int, from_data: bool = True) -> list[tuple[int, int, int, bool]]:
    """The layers of an MLP; data need no gradient."""
    return [(rows, *pair, i > 0 or not from_data) for i, pair in enumerate(pairwise(sizes))]


M1_SHAPES = chain(M1_BATCH, 784, 500, 500, 100) + chain(M1_BATCH, 50, 500, 500, 784, from_data=False)
M2_SHAPES = [  # x enters its first layers once, all that comes after a label ten times
    *chain(M2_BATCH, 784, 500, 10),
    *chain(M2_BATCH, 784, 500),
    *chain(10 * M2_BATCH, 500, 100, from_data=False),
    *chain(10 * M2_BATCH, 50, 500, 784, from_data=False),
]


def m1(images: Tensor, root: Path, quick: bool) -> dict:
    device = images.device
    variants = {
        "products_fp32": partial(products, M1_SHAPES, device, torch.float32, M1_BATCH),
        "products_bf16": partial(products, M1_SHAPES, device, torch.bfloat16, M1_BATCH),
        "stock": partial(peers.stock, root, device),
        "pyro": partial(peers.pyro_m1, images),
        "pythae": partial(peers.pythae_m1, images),
        "ours_fp32": partial(ours, VAE(**M1), m1_loss, images, M1_BATCH, "fp32"),
        "ours_bf16": partial(ours, VAE(**M1), m1_loss, images, M1_BATCH, "bf16"),
        "ours": partial(ours, VAE(**M1), m1_loss, images, M1_BATCH, "auto"),
    }
    rates = race(variants, 3_840 if quick else 12_800, 3 if quick else 11)
    ratios = {
        f"vs_{name}": median_ratio(rates, "ours", name)
        for name in ("stock", "pyro", "pythae", "ours_fp32", "ours_bf16")
    }
    limits = dict(of_limit="products_fp32", of_bf16_limit="products_bf16")
    ratios |= {name: median_ratio(rates, "ours", limit) for name, limit in limits.items()}
    return ratios | dict(images_per_second=rates_of(rates))


def m2(images: Tensor, quick: bool) -> dict:
    device = images.device
    variants = {
        "products_fp32": partial(products, M2_SHAPES, device, torch.float32, M2_BATCH),
        "products_bf16": partial(products, M2_SHAPES, device, torch.bfloat16, M2_BATCH),
        "naive": partial(peers.naive_m2, images),
        "pyro": partial(peers.pyro_m2, images),
        "ours_fp32": partial(ours, M2(), m2_loss, images, M2_BATCH, "fp32"),
        "ours": partial(ours, M2(), m2_loss, images, M2_BATCH, "auto"),
    }
    rates = race(variants, 1_000 if quick else 4_000, 3 if quick else 11)
    ratios = {f"vs_{name}": median_ratio(rates, "ours", name) for name in ("naive", "pyro")}
    return ratios | dict(of_limit=median_ratio(rates, "ours", "products_fp32"), images_per_second=rates_of(rates))


def scaling(images: Tensor, quick: bool) -> dict:
    """Images a second over batch sizes and widths; seconds and memory of a pass over up to ten times the images."""

    def rates(variants: dict[int, Callable[[], Variant]]) -> dict[str, int]:
        named = {str(size): variant for size, variant in variants.items()}
        raced = race(named, 2_560 if quick else 10_240, 1 if quick else 5)
        return {name: round(statistics.median(values)) for name, values in raced.items()}

    def variant(width: int = 500, batch: int = M1_BATCH) -> Callable[[], Variant]:
        return partial(ours, VAE(**M1 | dict(hidden=(width, width))), m1_loss, images, batch, "auto")

    result = dict(
        batch=rates({batch: variant(batch=batch) for batch in (32, 64, 128, 256, 512, 1024)}),
        width=rates({width: variant(width=width) for width in (64, 128, 256, 500, 1000)}),
    )
    few = images[:600] if quick else images
    for times in (1, 3, 10):
        report = in_a_process(MEMORY.format(n=len(few), times=times, device=images.device))
        result.setdefault("images", {})[str(times * len(few))] = report
    return result


MEMORY = """
import json, statistics, torch
from benchmarks.racing import peak_memory
at_import = peak_memory()
from vaecore import data
from vaecore.losses import vae_loss
from vaecore.train import fit
from vaecore.vae import VAE
images = data.mnist(device="{device}").x_train[:{n}].repeat({times}, 1)
loaded = peak_memory()
model = VAE(d_z=50, hidden=(500, 500)).to("{device}")
history = fit(model, lambda x: vae_loss(model, data.binarize(x)), images, epochs=3)
peak = peak_memory()
print(json.dumps(dict(seconds=round(statistics.median(history.seconds), 3), mb_of_images=round(images.numel() / 2**20),
    mb_over_torch=round(peak - at_import), mb_over_loading=round(peak - loaded))))
"""


def side_by_side(quick: bool) -> dict:
    """Images a second of one training alone, and of each of two at the same time, by how the threads are chosen."""
    seconds = 1 if quick else 6

    def together(n: int, environment: dict) -> float:
        code = [sys.executable, "-c", BESIDE.format(seconds=seconds)]
        options = dict(env=os.environ | environment, stdout=subprocess.PIPE, text=True)
        running = [subprocess.Popen(code, **options) for _ in range(n)]
        return statistics.mean(float(process.communicate()[0]) for process in running)

    half = str(max(1, (os.cpu_count() or 1) // 2))
    ways = dict(all_cores={}, all_cores_passive={"OMP_WAIT_POLICY": "PASSIVE"}, half={"OMP_NUM_THREADS": half})
    return {way: dict(alone=round(together(1, env)), beside=round(together(2, env))) for way, env in ways.items()}


BESIDE = """
import statistics, time
from benchmarks import speed
images = speed.data.mnist().x_train
train = speed.ours(speed.VAE(**speed.M1), speed.m1_loss, images, speed.M1_BATCH, "auto")
train(2_560)
end, rates = time.monotonic() + {seconds}, []
while time.monotonic() < end:
    rates.append(2_560 / train(2_560))
print(statistics.median(rates))
"""


def start_up(rounds: int) -> dict:
    """Seconds that Python takes to import torch, and then the modules of vaecore that train and measure."""
    modules = "data, distributions, evaluate, m2, records, runs, splits, train, vae"
    code = f"import time; a = time.perf_counter(); import torch; b = time.perf_counter(); from vaecore import {modules}"
    runs = [in_a_process(f"{code}; print([b - a, time.perf_counter() - b])") for _ in range(rounds)]
    torch_alone, on_top = (statistics.median(column) for column in zip(*runs, strict=True))
    return dict(import_torch=round(torch_alone, 2), import_vaecore_over_torch=round(on_top, 3))


def quality(digits: data.Pictures) -> dict:
    """Test ELBO, one sample, pixels drawn, and the seconds of training up to it, without the testing."""
    result = {}
    with seeded(0, digits.x_test.device):
        x_test = data.binarize(digits.x_test)
    for name, settings in QUALITY.items():
        torch.manual_seed(0)
        model = VAE(d_z=50, hidden=(500, 500), activation=settings["activation"])
        model = model.to(digits.x_train.device)
        of_fit = {key: value for key, value in settings.items() if key != "activation"}
        history = fit(model, partial(m1_loss, model), digits.x_train, **of_fit)
        bound = evaluate.elbo(model, x_test).mean().item()
        result[name] = dict(test_elbo=round(bound, 2), seconds=round(sum(history.seconds), 1), settings=settings)
    return result


QUALITY = {
    "short": dict(activation="tanh", epochs=22, batch_size=128, lr=2e-3),
    "long": dict(activation="tanh", epochs=90, batch_size=128, lr=2e-3),
}


def machine(device: torch.device) -> dict:
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    described = dict(processor=model, cores=os.cpu_count(), threads=torch.get_num_threads(), system=platform.platform())
    described |= dict(native_bf16=bool(capabilities.get("avx512_bf16")), device=str(device))
    if device.type == "cuda":
        described |= dict(gpu=torch.cuda.get_device_name(device))
    return described | checkpoints.provenance()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"only these: {', '.join(PARTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds of each, to see that everything runs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the record there")
    args = parser.parse_args()
    device = pick_device(args.device)
    digits = data.mnist(device=device)
    if not digits.is_full:
        parser.error("the whole of MNIST is needed; set VAECORE_DATA to it, or connect for the download.")
    root = Path(os.environ.get("VAECORE_DATA") or cache_folder())
    measured = (
        lambda: m1(digits.x_train, root, args.quick),
        lambda: m2(digits.x_train, args.quick),
        lambda: scaling(digits.x_train, args.quick),
        lambda: side_by_side(args.quick),
        lambda: start_up(3 if args.quick else 7),
        lambda: quality(digits),
    )
    parts = dict(zip(PARTS, measured, strict=True))
    left_out = {"quality"} if args.quick else {"side_by_side"} if device.type != "cpu" else set()
    report = dict(machine=machine(device), quick=args.quick)
    if args.parts and args.json and args.json.exists():
        before = json.loads(args.json.read_text(encoding="utf-8"))
        same = before["quick"] == args.quick and before["machine"]["processor"] == report["machine"]["processor"]
        if not same:
            parser.error(f"{args.json} is of another processor, or one of the two is --quick; give another file.")
        report = before | report
    for name in args.parts or [name for name in parts if name not in left_out]:
        report[name] = parts[name]()
        print(name, json.dumps(report[name], indent=1), flush=True)
    if args.json:
        records.write(args.json, report)


if __name__ == "__main__":
    main()
