"""The pure functions of the explorers' modules: nets, packed weights and the terms of bounds are PyTorch's."""

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from explorer_pages import BENT, LINE, MODULES
from torch import nn
from torch.distributions import Normal, kl_divergence

from vaecore import runs
from vaecore.explorer import base, blobs
from vaecore.seeds import seeded

IN_EXPLORERS = ("m1-2d", "m2-book", "m1m2-book", "cvae-left", "regressor-left")
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
# reads the blobs, then calls a function of (nets, inputs)
WITH_NETS = "async ([blobs, inputs]) => {{ const nets = blobs.map(b => js.readNetwork(JSON.parse(b), 'net')); {} }}"


def test_no_two_modules_declare_one_name(page_functions):
    """The modules are joined into one script, where two would be one; it must run as a module too, in strict mode."""
    names = [name for path in MODULES.glob("*.js") for name in DECLARED.findall(path.read_text(encoding="utf-8"))]
    assert len(names) > 60 and sorted(names) == sorted(set(names))
    assert not re.search(r"^(import|export)\b", base.JAVASCRIPT, re.MULTILINE)
    run = "text => import(`data:text/javascript,${encodeURIComponent(text)}`)"  # throws a SyntaxError for two
    page_functions.evaluate(run, base.Explorer._esm)


@pytest.mark.parametrize("n", [4, 6, 1023])
def test_packed_numbers_are_read_as_numpy_has_them(page_functions, n):
    """float16 with subnormal, huge and no numbers among them; int10 from -511 to 511."""
    rng = np.random.default_rng(n)
    halves = rng.integers(0, 2**16, n, dtype=np.uint16).view(np.float16)
    halves[:4] = [6e-8, -65504, np.inf, np.nan]
    read = "([bytes, kind]) => Array.from(js.numbersOf(Uint8Array.from(bytes), kind), String)"
    found = page_functions.evaluate(read, [list(halves.tobytes()), "float16"])
    assert np.array_equal(np.array(found, np.float64), halves.astype(np.float64), equal_nan=True)
    whole = rng.integers(-511, 512, n).astype(np.int16)
    found = page_functions.evaluate(read, [list(blobs._pack_int10(whole).tobytes()), "int10"])
    assert np.array_equal(np.array(found, np.float64)[:n], whole)


@pytest.mark.parametrize("dtype, error", [("float16", 2e-3), ("int10", 1e-2)])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Softplus])
def test_the_forward_pass_is_pytorchs(page_functions, activation, dtype, error):
    """Numbers of rows that four does and does not divide, a layer without a bias; Python reads what the page reads."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 7, bias=False), activation(), nn.Linear(7, 5)), torch.randn(10, 3)
    blob = blobs.network_blob(net, dtype=dtype)
    call = WITH_NETS.format("return inputs.map(x => Array.from(js.forward(nets[0], x)));")
    found = torch.tensor(page_functions.evaluate(call, [[blob], x.tolist()]))
    with torch.no_grad():
        assert (found - net(x)).abs().max() < error
        assert (found - blobs.read_network(blob)(x)).abs().max() < 1e-5


def nets_of(model: nn.Module) -> dict[str, nn.Module]:
    """The MLPs of a model, also those of an M1+M2's two parts."""
    return {name: m for name, m in model.named_modules() if hasattr(m, "columns") or type(m) is nn.Sequential}


@torch.no_grad()
def test_the_books_nets_compute_the_same_in_the_page(page_functions, digits):
    """On 10 inputs each: pixels to 1e-3 where the weights are float16, to 0.02 where they are ten-bit numbers."""
    kinds = set()
    for name in IN_EXPLORERS:
        nets = nets_of(runs.pretrained(name, digits))
        for role, net in nets.items():
            if role.endswith("rest"):  # of a LabelledMLP
                continue
            blob = blobs.network_blob(net, role)
            kind, d_in = json.loads(blob)["layers"][0]["weight"]["kind"], json.loads(blob)["n_in"]
            with seeded(0):
                x = (digits.x_test[:10, :d_in] > 127).float() if d_in in (784, 392, 28, 196) else torch.randn(10, d_in)
            if hasattr(net, "columns"):
                x = torch.cat([torch.randn(10, d_in - 10), torch.eye(10)], dim=1)
            exact = net(x[:, :-10], x[:, -10:].argmax(-1)) if hasattr(net, "columns") else net(x)
            call = WITH_NETS.format("return inputs.map(x => Array.from(js.forward(nets[0], x)));")
            found = torch.tensor(page_functions.evaluate(call, [[blob], x.tolist()]))
            assert (found.sigmoid() - exact.sigmoid()).abs().max() < {"float16": 1e-3, "int10": 0.02}[kind], (
                name,
                role,
            )
            kinds.add(kind)
    assert kinds == {"float16", "int10"}


def blobs_of(explorer, *roles: str) -> list[str]:
    return [explorer.blobs[explorer.settings["blobs"][role]] for role in roles]


@torch.no_grad()
def test_the_elbo_of_a_digit_is_pytorchs(page_functions, explorers, flat):
    """Seven digits, four epsilons. These weights were stored as float16, so only float32's rounding is left."""
    one = explorers["digit"]
    bits = (one.test_digits[::9] > 127).float()
    epsilons = [[0.0, 0.0], [1.0, -2.0], [-0.5, 0.25], [3.0, 3.0]]
    call = WITH_NETS.format("return inputs[0].map(x => inputs[1].map(e => js.encodeDecode(...nets, x, e)));")
    found = page_functions.evaluate(call, [blobs_of(one, "encoder", "decoder"), [bits.tolist(), epsilons]])
    for x, of_digit in zip(bits, found, strict=True):
        mu, log_var = flat.encoder(x).double().chunk(2)
        q = Normal(mu, torch.exp(log_var / 2))
        for epsilon, reading in zip(epsilons, of_digit, strict=True):
            z = mu + q.scale * torch.tensor(epsilon)
            log_p = -F.binary_cross_entropy_with_logits(flat.decoder(z.float()), x, reduction="sum")
            kl = kl_divergence(q, Normal(0.0, 1.0)).sum()
            exact = dict(mu=mu, sigma=q.scale, z=z, logP=log_p, kl=kl, elbo=log_p - kl)
            assert {name: reading[name] for name in exact} == {
                name: pytest.approx(value.tolist(), rel=1e-4, abs=1e-4) for name, value in exact.items()
            }


TERMS_AND_CLIMB = """([settings, name, mu, sigma]) => {
    const grid = js.gridOf(settings), on = js.posteriorOn(grid, settings.posteriors.find(p => p.name === name));
    return [js.termsOf(grid, on, mu, sigma), js.climb(grid, on, settings, ...settings.start)];
}"""


@pytest.mark.parametrize("name", [LINE, BENT])
@pytest.mark.parametrize("mu, sigma", [(1.0, 1.0), (-3.0, 1.5), (3.0, 0.1), (1.38, 0.19)])
def test_terms_and_climb_of_the_gap_are_pythons(page_functions, explorers, name, mu, sigma):
    """The same sums over the same numbers, and the same steps; test_explorer_gap has the oracle of Python's."""
    gap = explorers["gap"]
    gap.posterior, gap.mu, gap.sigma = name, mu, sigma
    terms, end = page_functions.evaluate(TERMS_AND_CLIMB, [gap.settings, name, mu, sigma])
    theirs = [terms[key] for key in ("reconstruction", "klToPrior", "gap", "logEvidence", "elbo")]
    assert theirs == pytest.approx([*gap.terms().values(), gap.elbo], abs=1e-9)
    assert end == pytest.approx(gap.best(name), abs=1e-9)
