"""The equations of "How fast, and why", against PyTorch's count of its own work, a played machine, and float64."""

import math
import random

import torch
from torch import nn
from torch.distributions import Bernoulli
from torch.utils.flop_counter import FlopCounterMode

from vaecore.vae import VAE


def test_step_multiply_adds():
    m1, x = VAE(d_z=7, hidden=(50, 30)), torch.rand(16, 784).round()
    sizes = [(layer.in_features, layer.out_features) for layer in m1.modules() if isinstance(layer, nn.Linear)]
    ours = len(x) * (3 * sum(n * m for n, m in sizes) - math.prod(sizes[0]))
    with FlopCounterMode(display=False) as counter:
        m1.elbo(x).mean().backward()
    assert 2 * ours == counter.get_total_flops()


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
