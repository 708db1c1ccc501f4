"""What `benchmarks.speed` compares with: the loop of many tutorials, Pyro, pythae, and M2 with ten copies of an image."""

import contextlib
import io
import logging
import math
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaecore import data
from vaecore.m2 import M2
from vaecore.vae import VAE

from .racing import Clock, Variant

M1 = dict(d_z=50, hidden=(500, 500), activation="softplus")
M1_BATCH, M2_BATCH = 128, 100


class Stock(nn.Module):
    """The VAE of PyTorch's basic example, with our sizes: it ends in a sigmoid, and its loss is a sum over the batch."""

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
    """A DataLoader over torchvision's MNIST, sigmoid and cross-entropy in two steps, and plain Adam."""
    from torchvision import datasets, transforms

    images = datasets.MNIST(root, train=True, transform=transforms.ToTensor())
    model = Stock().to(device)
    optimizer, clock = torch.optim.Adam(model.parameters(), lr=1e-3), Clock(device)

    def train(n: int) -> float:
        subset = torch.utils.data.Subset(images, range(n))
        loader = torch.utils.data.DataLoader(subset, batch_size=M1_BATCH, shuffle=True)
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
    """Bits in memory, shuffled: the peers' loops are not timed on making them."""
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
    """M2's bound for images without labels: Pyro sums over the classes, all at once."""
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
    """A net of one hidden layer on the concatenation of a and one-hot y."""

    def __init__(self, d_a: int, d_out: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d_a + 10, 500), nn.Softplus(), nn.Linear(500, d_out))

    def forward(self, a: Tensor, y: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(a.shape[:-1], y.shape[:-1])
        return self.net(torch.cat([a.expand(*shape, -1), y.expand(*shape, -1)], dim=-1))


def naive_bound(x: Tensor, classifier: nn.Module, encoder: Concatenated, decoder: Concatenated) -> Tensor:
    """Every image ten times, with ten labels in one long batch, as it is mostly written."""
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
