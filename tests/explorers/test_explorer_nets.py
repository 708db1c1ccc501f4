"""Which nets go into a page: their layers and sizes, and what is said of those that are rounded."""

import pytest
import torch
from explorer_pages import SMALL, small_m2, small_vae
from torch import nn

from vaecore import explorer
from vaecore.explorer import blobs
from vaecore.splits import pixel_split
from vaecore.vae import Regressor


def test_layers_that_do_not_fit_are_told_in_a_sentence():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(4, 5))
    with pytest.raises(ValueError, match=r"^Layer 2 of decoder takes 4 numbers; layer 1 gives 3\.$"):
        blobs.network_blob(net, "decoder")


@pytest.mark.parametrize("softplus", [nn.Softplus(beta=2), nn.Softplus(threshold=2)])
def test_only_the_pages_softplus_is_packed(softplus):
    with pytest.raises(TypeError, match="must be Linear layers with relu, softplus, tanh"):
        blobs.network_blob(nn.Sequential(nn.Linear(2, 3), softplus, nn.Linear(3, 3)))
    blobs.network_blob(nn.Sequential(nn.Linear(2, 3), nn.Softplus(threshold=30), nn.Linear(3, 3)))


@pytest.mark.parametrize("dtype", ["float16", "int10"])
def test_layers_without_a_bias_have_one_of_zeros(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False))
    read, x = blobs.read_network(blobs.network_blob(net, dtype=dtype)), torch.randn(5, 4)
    assert read[0].bias.tolist() == [0.0] * 6
    assert (read(x) - net(x)).abs().max() < 1e-2


def test_a_net_of_other_sizes_is_told_in_a_sentence():
    net = nn.Sequential(nn.Linear(2, 5))
    blobs.network_blob(net, "decoder", n_in=2, n_out=5)
    for sizes in (dict(n_in=3, n_out=5), dict(n_in=2, n_out=6)):
        wanted = f"must take {sizes['n_in']} numbers and give {sizes['n_out']}; it takes 2 and gives 5"
        with pytest.raises(ValueError, match=rf"^decoder {wanted}\.$"):
            blobs.network_blob(net, "decoder", **sizes)


@pytest.mark.parametrize(
    "kind, role, make",
    [
        (explorer.LatentExplorer, "decoder", small_vae),
        (explorer.DigitExplorer, "encoder", small_vae),
        (explorer.DigitExplorer, "decoder", small_vae),
        (explorer.ClassesExplorer, "decoder", small_m2),
        (explorer.AnalogiesExplorer, "encoder", small_m2),
        (explorer.AnalogiesExplorer, "decoder", small_m2),
    ],
)
def test_every_kind_looks_at_the_sizes_of_its_nets(digits, kind, role, make):
    """Of those that it has in the page."""
    model = make()
    setattr(model, role, getattr(make(d_z=7), role))
    with pytest.raises(ValueError, match=rf"^{role} must take \d+ numbers and give \d+; it takes"):
        kind(model, digits)


@pytest.mark.parametrize("role", ["decoder", "regressor"])
def test_the_completer_looks_at_the_sizes_of_its_nets(digits, role):
    d_y, d_x = map(len, pixel_split("left"))
    model, regressor = small_vae(3, d_x=d_x, d_y=d_y), Regressor(d_x, d_y, hidden=(8,))
    if role == "decoder":
        model.decoder = small_vae(4, d_x=d_x, d_y=d_y).decoder
    else:
        regressor.net = Regressor(d_x, d_y - 1, hidden=(8,)).net
    with pytest.raises(ValueError, match=rf"^{role} must take \d+ numbers and give \d+; it takes"):
        explorer.CompletionExplorer({"left": model}, digits, regressors={"left": regressor})


def test_an_m2_of_small_pictures_is_refused(digits):
    with pytest.raises(ValueError, match=r"^classifier must take 784 numbers and give 10; it takes 100 and gives 10\."):
        explorer.AnalogiesExplorer(small_m2(d_x=100), digits)


def large(model: nn.Module) -> nn.Module:
    """The same, made so that its nets are stored as ten-bit numbers."""
    torch.manual_seed(0)
    return type(model)(**(model.config | dict(hidden=[700])))


def test_every_rounded_net_is_noted(digits):
    vae, m2, rounded = large(small_vae()), large(small_m2()), "rounded to 10 bits for this page."
    note = explorer.LatentExplorer(vae).settings["note"]
    moved = float(note.split(" moves a pixel by ")[1].split()[0])
    assert note.startswith(f"Weights of its decoder are {rounded}") and "over 1,000 draws from the prior" in note
    with torch.no_grad():
        z = torch.randn(1000, 2)
        read = blobs.read_network(blobs.network_blob(vae.decoder))
        assert moved == pytest.approx((torch.sigmoid(read(z)) - vae.decode(z).mean).abs().max().item(), abs=0.003)
    note = explorer.DigitExplorer(vae, digits).settings["note"]
    assert note.startswith(f"Weights of its encoder and decoder are {rounded}") and "1,000 draws" in note
    note = explorer.ClassesExplorer(m2).settings["note"]
    assert note == f"Weights of its decoder are {rounded}"
    note = explorer.AnalogiesExplorer(m2, digits).settings["note"]
    assert note == f"Weights of its classifier, encoder and decoder are {rounded}"
    for kind in ("digit", "classes", "analogies", "completion"):
        assert SMALL[kind](digits).settings["note"] == ""
