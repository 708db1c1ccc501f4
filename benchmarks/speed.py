"""How fast is training? `python -m benchmarks.speed [PART ...] [--quick] [--device cpu] [--json FILE]`

Ours, the loop that learners copy, Pyro and pythae on the same nets, beside what the matrix products alone would take.
The variants take turns, round by round. What counts is the median over the rounds of a ratio within one round: then a
neighbour that slows the machine for a while slows both. Pyro and pythae come with `pip install -e ".[benchmarks]"`;
without one of them its rows are left out. With parts named, a record that is there already keeps the others.
"""

import argparse
import contextlib
import io
import json
import logging
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaecore import checkpoints, data, evaluate, records
from vaecore.m2 import M2
from vaecore.pretrained import unlabelled_loss, vae_loss
from vaecore.train import fit, pick_device
from vaecore.vae import VAE

RECORD = records.RESULTS / "speed.json"
M1 = dict(d_z=50, hidden=(500, 500), activation="softplus")
M1_BATCH, M2_BATCH = 128, 100
PARTS = ("m1", "m2", "scaling", "side_by_side", "start_up", "quality")
Variant = Callable[[int], float]  # trains on so many images and returns the seconds that this took


class Clock:
    """Seconds of the device's work: on CUDA the host would else only see how long the asking took."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


# What the others do


class Stock(nn.Module):
    """The VAE of PyTorch's basic example, with our sizes: it ends in a sigmoid, and its loss adds up over the batch."""

    def __init__(self) -> None:
        super().__init__()
        nets = VAE(**M1)
        self.encoder, self.decoder = nets.encoder, nets.decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, log_var = self.encoder(x.view(-1, 784)).chunk(2, dim=-1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return torch.sigmoid(self.decoder(z)), mu, log_var


def stock_loss(x: Tensor, mean: Tensor, mu: Tensor, log_var: Tensor) -> Tensor:
    likelihood = F.binary_cross_entropy(mean, x.view(-1, 784), reduction="sum")
    return likelihood - 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())


def stock(root: Path, device: torch.device) -> Variant:
    """A DataLoader over torchvision's MNIST, sigmoid and cross-entropy apart, and plain Adam."""
    from torchvision import datasets, transforms

    images = datasets.MNIST(root, train=True, transform=transforms.ToTensor())
    model = Stock().to(device)
    optimizer, clock = torch.optim.Adam(model.parameters(), lr=1e-3), Clock(device)

    def train(n: int) -> float:
        some = torch.utils.data.Subset(images, range(n))
        loader = torch.utils.data.DataLoader(some, batch_size=M1_BATCH, shuffle=True)
        start = clock()
        for x, _ in loader:
            x = x.to(device)
            optimizer.zero_grad()
            loss = stock_loss(x, *model(x))
            loss.backward()
            loss.item()  # as the example does, to report it
            optimizer.step()
        return clock() - start

    return train


def float_batches(images: Tensor, n: int, batch_size: int) -> list[Tensor]:
    """Bits in memory, shuffled: the others' loops get them for nothing."""
    rows = torch.randperm(len(images), device=images.device)[:n]
    return list(data.binarize(images[rows]).split(batch_size))


def pyro_m1(images: Tensor) -> Variant:
    """The VAE of Pyro's tutorial, with our sizes and the closed form of the KL."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, TraceMeanField_ELBO

    nets = VAE(**M1).to(images.device)

    def model(x: Tensor) -> None:
        pyro.module("decoder", nets.decoder)
        with pyro.plate("images", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 50), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=nets.decoder(z), validate_args=False).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", nets.encoder)
        with pyro.plate("images", len(x)):
            mu, log_var = nets.encoder(x).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(mu, torch.exp(0.5 * log_var)).to_event(1))

    return pyro_loop(SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), TraceMeanField_ELBO()), images, M1_BATCH)


def pyro_m2(images: Tensor) -> Variant:
    """M2's bound for images without labels: Pyro adds up over the classes, all at once."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate

    m2 = M2().to(images.device)
    encoder, decoder = Concatenated(784, 100), Concatenated(50, 784)
    encoder, decoder = encoder.to(images.device), decoder.to(images.device)

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("images", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=x.new_zeros(10)))
            z = pyro.sample("z", dist.Normal(x.new_zeros(50), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z, y), validate_args=False).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("classifier", m2.classifier)
        pyro.module("encoder", encoder)
        with pyro.plate("images", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=m2.classifier(x)))
            mu, log_var = encoder(x, y).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(mu, torch.exp(0.5 * log_var)).to_event(1))

    guide = config_enumerate(guide, "parallel", expand=True)
    loss = TraceEnum_ELBO(max_plate_nesting=1)
    return pyro_loop(SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss), images, M2_BATCH)


def pyro_loop(svi, images: Tensor, batch_size: int) -> Variant:
    clock = Clock(images.device)

    def train(n: int) -> float:
        batches = float_batches(images, n, batch_size)
        start = clock()
        for x in batches:
            svi.step(x)
        return clock() - start

    return train


def pythae_m1(images: Tensor) -> Variant:
    """pythae's VAE and its trainer, with our nets; a trainer has its own sanity check, which is not timed."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    nets, clock = VAE(**M1), Clock(images.device)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.encoder

        def forward(self, x: Tensor) -> ModelOutput:
            mu, log_var = self.net(x).chunk(2, dim=-1)
            return ModelOutput(embedding=mu, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.sigmoid(self.net(z)))

    config = VAEConfig(input_dim=(784,), latent_dim=50, reconstruction_loss="bce")
    model = PythaeVAE(config, Encoder(), Decoder())

    def train(n: int) -> float:
        x = torch.cat(float_batches(images, n, n))
        logging.disable(logging.WARNING)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            settings = BaseTrainerConfig(folder, num_epochs=1, learning_rate=1e-3, per_device_train_batch_size=M1_BATCH)
            settings.no_cuda = images.device.type == "cpu"
            trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(n)), training_config=settings)
            trainer.prepare_training()
            start = clock()
            trainer.train_step(1)
            return clock() - start

    return train


class Concatenated(nn.Module):
    """A net of one hidden layer on a and one-hot y, written one behind the other."""

    def __init__(self, d_a: int, d_out: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d_a + 10, 500), nn.Softplus(), nn.Linear(500, d_out))

    def forward(self, a: Tensor, y: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(a.shape[:-1], y.shape[:-1])
        return self.net(torch.cat([a.expand(*shape, -1), y.expand(*shape, -1)], dim=-1))


def naive_bound(x: Tensor, classifier: nn.Module, encoder: Concatenated, decoder: Concatenated) -> Tensor:
    """Every image ten times, with ten labels in one long batch: the way in which it is mostly written."""
    log_q_y = F.log_softmax(classifier(x), dim=-1)  # (B, K)
    long = x.repeat(10, 1)  # (K * B, D)
    y = F.one_hot(torch.arange(10, device=x.device).repeat_interleave(len(x)), 10).float()
    mu, log_var = encoder(long, y).chunk(2, dim=-1)
    z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
    log_likelihood = -F.binary_cross_entropy_with_logits(decoder(z, y), long, reduction="none").sum(-1)
    kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(-1)
    labelled = (log_likelihood - kl - math.log(10)).view(10, len(x)).T
    return (log_q_y.exp() * (labelled - log_q_y)).sum(-1)


def naive_m2(images: Tensor) -> Variant:
    device = images.device
    m2, encoder, decoder = M2().to(device), Concatenated(784, 100).to(device), Concatenated(50, 784).to(device)
    modules = nn.ModuleList([m2.classifier, encoder, decoder])
    optimizer, clock = torch.optim.Adam(modules.parameters(), lr=1e-3), Clock(device)

    def train(n: int) -> float:
        batches = float_batches(images, n, M2_BATCH)
        start = clock()
        for x in batches:
            optimizer.zero_grad()
            (-naive_bound(x, m2.classifier, encoder, decoder).mean()).backward()
            optimizer.step()
        return clock() - start

    return train


# Ours, and the limit


def ours(model: nn.Module, loss: Callable, images: Tensor, batch_size: int, precision: str) -> Variant:
    """What `fit` says of its own epoch; before it, `fit` looks its data over once, which takes no time to speak of."""
    model = model.to(images.device)

    def train(n: int) -> float:
        step = partial(loss, model)
        how = dict(epochs=1, batch_size=batch_size, lr=1e-3, schedule="constant", precision=precision)
        if images.device.type == "cuda":  # the first epoch records the step
            return fit(model, lambda x: step(x), images[:n], **how | dict(epochs=2)).seconds[1]
        return fit(model, lambda x: step(x), images[:n], **how).seconds[0]

    return train


def bits_loss(model: VAE, images: Tensor) -> Tensor:
    return vae_loss(model, data.binarize(images))


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


# Measuring


class Worker:
    """A variant in a process of its own, so that no settings of one (of memory, threads, warnings) reach another."""

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


def told(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: dict(median=round(statistics.median(r)), low=round(min(r)), high=round(max(r)))
        for name, r in rates.items()
    }


def m1(images: Tensor, root: Path, quick: bool) -> dict:
    device = images.device
    variants = {
        "products_fp32": partial(products, M1_SHAPES, device, torch.float32, M1_BATCH),
        "products_bf16": partial(products, M1_SHAPES, device, torch.bfloat16, M1_BATCH),
        "stock": partial(stock, root, device),
        "pyro": partial(pyro_m1, images),
        "pythae": partial(pythae_m1, images),
        "ours_fp32": partial(ours, VAE(**M1), bits_loss, images, M1_BATCH, "fp32"),
        "ours": partial(ours, VAE(**M1), bits_loss, images, M1_BATCH, "auto"),
    }
    rates = race(variants, 3_840 if quick else 12_800, 3 if quick else 11)
    ratios = {f"vs_{name}": median_ratio(rates, "ours", name) for name in ("stock", "pyro", "pythae")}
    limits = dict(of_limit="products_fp32", of_bf16_limit="products_bf16")
    ratios |= {name: median_ratio(rates, "ours", limit) for name, limit in limits.items()}
    return ratios | dict(images_per_second=told(rates))


def m2(images: Tensor, quick: bool) -> dict:
    device = images.device
    variants = {
        "products_fp32": partial(products, M2_SHAPES, device, torch.float32, M2_BATCH),
        "products_bf16": partial(products, M2_SHAPES, device, torch.bfloat16, M2_BATCH),
        "naive": partial(naive_m2, images),
        "pyro": partial(pyro_m2, images),
        "ours_fp32": partial(ours, M2(), unlabelled_loss, images, M2_BATCH, "fp32"),
        "ours": partial(ours, M2(), unlabelled_loss, images, M2_BATCH, "auto"),
    }
    rates = race(variants, 1_000 if quick else 4_000, 3 if quick else 11)
    ratios = {f"vs_{name}": median_ratio(rates, "ours", name) for name in ("naive", "pyro")}
    return ratios | dict(of_limit=median_ratio(rates, "ours", "products_fp32"), images_per_second=told(rates))


def scaling(images: Tensor, quick: bool) -> dict:
    """Images a second over batch sizes and widths; seconds and memory of a pass over up to ten times the images."""

    def rates(variants: dict[int, Callable[[], Variant]]) -> dict[str, int]:
        raced = race(
            {str(key): variant for key, variant in variants.items()}, 2_560 if quick else 10_240, 1 if quick else 5
        )
        return {name: round(statistics.median(values)) for name, values in raced.items()}

    def one(width: int = 500, batch: int = M1_BATCH) -> Callable[[], Variant]:
        return partial(ours, VAE(**M1 | dict(hidden=(width, width))), bits_loss, images, batch, "auto")

    result = dict(
        batch=rates({batch: one(batch=batch) for batch in (32, 64, 128, 256, 512, 1024)}),
        width=rates({width: one(width=width) for width in (64, 128, 256, 500, 1000)}),
    )
    few = images[:600] if quick else images
    for times in (1, 3, 10):
        report = in_a_process(MEMORY.format(n=len(few), times=times, device=images.device))
        result.setdefault("images", {})[str(times * len(few))] = report
    return result


MEMORY = """
import json, statistics, torch
from benchmarks.speed import peak_memory
at_import = peak_memory()
from vaecore import data
from vaecore.pretrained import vae_loss
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


def peak_memory() -> float:
    """The most that this process has had in memory, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # not getrusage, which on Linux starts with what the parent had
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts in bytes


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
train = speed.ours(speed.VAE(**speed.M1), speed.bits_loss, images, speed.M1_BATCH, "auto")
train(2_560)
end, rates = time.monotonic() + {seconds}, []
while time.monotonic() < end:
    rates.append(2_560 / train(2_560))
print(statistics.median(rates))
"""


def start_up(rounds: int) -> dict:
    """Seconds that Python takes to import torch, and all of vaecore that trains or is asked to on top of it."""
    modules = "data, distributions, evaluate, m2, pretrained, records, splits, train, vae"
    code = f"import time; a = time.perf_counter(); import torch; b = time.perf_counter(); from vaecore import {modules}"
    runs = [in_a_process(f"{code}; print([b - a, time.perf_counter() - b])") for _ in range(rounds)]
    first, second = (statistics.median(column) for column in zip(*runs, strict=True))
    return dict(import_torch=round(first, 2), import_vaecore_over_torch=round(second, 3))


def in_a_process(code: str):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def quality(digits: data.Digits) -> dict:
    """Test ELBO, one sample, pixels drawn, and the seconds of training up to it, without the testing."""
    result = {}
    with evaluate.seeded(0, digits.x_test.device):
        x_test = data.binarize(digits.x_test)
    for name, how in QUALITY.items():
        torch.manual_seed(0)
        model = VAE(d_z=50, hidden=(500, 500), activation=how["activation"]).to(digits.x_train.device)
        settings = {key: value for key, value in how.items() if key != "activation"}
        history = fit(model, partial(bits_loss, model), digits.x_train, **settings)
        bound = evaluate.elbo(model, x_test).mean().item()
        result[name] = dict(test_elbo=round(bound, 2), seconds=round(sum(history.seconds), 1), settings=how)
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
    parser.add_argument("--quick", action="store_true", help="a few seconds of each, to see that all runs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there, too")
    args = parser.parse_args()
    device = pick_device(args.device)
    digits = data.mnist(device=device)
    if not digits.is_full:
        parser.error("the whole of MNIST is needed; set VAECORE_DATA to it, or connect for the download.")
    root = Path(os.environ.get("VAECORE_DATA") or Path.home() / ".cache" / "vaecore")
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
        report = json.loads(args.json.read_text(encoding="utf-8")) | report
    for name in args.parts or [name for name in parts if name not in left_out]:
        report[name] = parts[name]()
        print(name, json.dumps(report[name], indent=1), flush=True)
    if args.json:
        records.write(args.json, report)


if __name__ == "__main__":
    main()
