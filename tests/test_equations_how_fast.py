"""The equations of "How fast, and why", against PyTorch's count of its own work, a played machine, and float64."""

import math
import random

import torch
from torch import nn
from torch.distributions import Bernoulli
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import speed
from vaecore.m2 import M2
from vaecore.vae import VAE


def counted(value) -> int:
    """The multiply-adds of value() and its gradient."""
    with FlopCounterMode(display=False) as counter:
        value().backward()
    return counter.get_total_flops() // 2


def raced(shapes) -> int:
    """The multiply-adds of the products that benchmarks.speed calls the limit."""
    return sum(rows * d_in * d_out * (2 + to_input) for rows, d_in, d_out, to_input in shapes)


def test_step_multiply_adds():
    """Also what the record divides by is a step's work: neither more products nor fewer."""
    m1, m2 = VAE(**speed.M1), M2()
    x = torch.rand(speed.M1_BATCH, 784).round()
    sizes = [(layer.in_features, layer.out_features) for layer in m1.modules() if isinstance(layer, nn.Linear)]
    ours = len(x) * (3 * sum(n * m for n, m in sizes) - math.prod(sizes[0]))
    assert ours == counted(lambda: m1.elbo(x).mean()) == raced(speed.M1_SHAPES)
    assert counted(lambda: m2.unlabelled_bound(x[: speed.M2_BATCH]).mean()) == raced(speed.M2_SHAPES)


def test_roofline():
    """A machine played tick by tick: it moves up to W bytes, and computes up to P operations on what has come."""
    draw = random.Random(0)
    for _ in range(20):
        peak, bandwidth, intensity = (draw.uniform(1, 10) for _ in range(3))
        done = moved = 0.0
        for _ in range(1000):
            moved += bandwidth
            done += min(peak, intensity * moved - done)
        bound = min(peak, intensity * bandwidth)
        assert 0.999 * bound < done / 1000 < 1.000001 * bound


def test_bce_from_logits():
    logits, x = torch.linspace(-15, 15, 121).double()[:, None], torch.tensor([0.0, 1.0]).double()
    ours = logits.clamp(min=0) - logits * x + torch.log(1 + torch.exp(-logits.abs()))
    torch.testing.assert_close(ours, -Bernoulli(probs=torch.sigmoid(logits)).log_prob(x))
