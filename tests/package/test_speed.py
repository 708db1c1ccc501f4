"""The speed benchmark: its limit counts the products that a step makes, its rivals do the same work, its bars hold."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import peers, racing, speed
from vaecore import records
from vaecore.m2 import M2
from vaecore.vae import VAE

BARS = {  # on a machine whose CPU has bf16
    "m1": dict(vs_stock=2.5, vs_pyro=2.1, vs_pythae=1.75, of_limit=0.9),
    "m2": dict(vs_naive=2.4, vs_pyro=3.2),
}


@pytest.mark.parametrize(
    ("shapes", "model", "loss", "batch"),
    [
        (speed.M1_SHAPES, VAE(**peers.M1), speed.m1_loss, speed.M1_BATCH),
        (speed.M2_SHAPES, M2(), speed.m2_loss, speed.M2_BATCH),
    ],
)
def test_the_limit_has_the_products_of_a_step(shapes, model, loss, batch, digits):
    with FlopCounterMode(display=False) as counter:
        loss(model, digits.x_train[:batch]).backward()
    products = sum(2 * rows * d_in * d_out * (3 if to_input else 2) for rows, d_in, d_out, to_input in shapes)
    assert products == counter.get_total_flops()


def test_the_limit_multiplies_what_it_says():
    with FlopCounterMode(display=False) as counter:
        speed.products(speed.M1_SHAPES, torch.device("cpu"), torch.float32, speed.M1_BATCH)(2 * speed.M1_BATCH)
    with FlopCounterMode(display=False) as step:
        speed.m1_loss(VAE(**peers.M1), torch.zeros(speed.M1_BATCH, 784, dtype=torch.uint8)).backward()
    assert counter.get_total_flops() == 2 * step.get_total_flops()


def test_the_naive_way_has_our_bound(digits):
    """The same weights, in one matrix there and in two here, and no noise: the same number."""
    torch.manual_seed(0)
    ours, encoder, decoder = M2(), peers.Concatenated(784, 100), peers.Concatenated(50, 784)
    for net, long in ((ours.encoder, encoder), (ours.decoder, decoder)):
        torch.nn.init.normal_(net.columns, std=0.1)
        with torch.no_grad():
            long.net[0].weight.copy_(torch.cat([net.first.weight, net.columns.T], dim=1))
            long.net[0].bias.copy_(net.first.bias)
            long.net[2].load_state_dict(net.rest[1].state_dict())
    x = (digits.x_train[:20] > 127).float()
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(torch, "randn_like", torch.zeros_like)
        patch.setattr(torch, "randn", lambda *shape, **_: torch.zeros(shape))
        naive = peers.naive_bound(x, ours.classifier, encoder, decoder)
        theirs = ours.unlabelled_bound(x)
    torch.testing.assert_close(naive, theirs, rtol=1e-6, atol=1e-4)


def test_the_stock_loss_is_ours(digits):
    torch.manual_seed(0)
    model, x = peers.Stock(), (digits.x_train[:20] > 127).float()
    torch.manual_seed(1)
    loss = peers.stock_loss(x, *model(x))
    mu, log_var = model.encoder(x).chunk(2, dim=-1)
    torch.manual_seed(1)
    logits = model.decoder(mu + torch.exp(0.5 * log_var) * torch.randn_like(mu))
    expected = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    expected += torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, torch.exp(0.5 * log_var)), torch.distributions.Normal(0, 1)
    ).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


def missing():
    raise ImportError("No module named 'pyro'")


@pytest.mark.slow
def test_ours_and_the_naive_way_race_and_who_is_not_installed_is_left_out(digits, capsys):
    images = digits.x_train[:300]
    ours = partial(speed.ours, M2(d_z=4), speed.m2_loss, images, 100, "auto")
    rates = racing.race(dict(ours=ours, naive=partial(peers.naive_m2, images), pyro=missing), 200, rounds=2)
    assert set(rates) == {"ours", "naive"} and all(len(r) == 2 and min(r) > 0 for r in rates.values())
    assert "pyro: left out (No module named 'pyro')" in capsys.readouterr().err


def test_ratios_are_medians_within_rounds():
    rates = {"ours": [10.0, 100.0, 30.0], "stock": [5.0, 25.0, 10.0]}
    assert racing.median_ratio(rates, "ours", "stock") == 3.0
    assert racing.median_ratio(rates, "ours", "pyro") is None
    assert racing.rates_of({"a": [1.2, 3.0, 8.0]}) == {"a": dict(median=3, low=1, high=8)}


@pytest.mark.slow
def test_memory_is_counted_from_nothing_in_a_new_process():
    ballast = torch.ones(100 * 2**20, dtype=torch.uint8)
    alone = racing.in_a_process("from benchmarks import racing; print(racing.peak_memory())")
    more = racing.in_a_process(
        "from benchmarks import racing; import torch; a = torch.ones(100 * 2**20, dtype=torch.uint8); "
        "print(racing.peak_memory())"
    )
    assert 90 < more - alone < 130 and len(ballast)


def test_the_record_holds_the_bars():
    record = records.speed()
    assert not record["quick"] and not record["machine"]["commit"].endswith("-dirty")
    assert record["machine"]["native_bf16"], "record it where the CPU has bf16"
    below = {
        f"{model}.{name}": record[model][name]
        for model, bars in BARS.items()
        for name, bar in bars.items()
        if record[model][name] < bar
    }
    assert below == {}
    assert record["start_up"]["import_vaecore_over_torch"] < 0.3
    pass_over_mnist = record["scaling"]["images"]["60000"]
    assert pass_over_mnist["mb_over_torch"] < 1024
    ten_times = record["scaling"]["images"]["600000"]
    assert ten_times["seconds"] < 1.25 * 10 * pass_over_mnist["seconds"]
    assert ten_times["mb_over_loading"] < pass_over_mnist["mb_over_loading"] + 50
    short, long = record["quality"]["short"], record["quality"]["long"]
    assert short["test_elbo"] > -97 and short["seconds"] < 70
    assert long["test_elbo"] > -91.5 and long["seconds"] < 280
