"""What an experiment builds and minimises: the weights it starts from, each term of its loss, the ablation's bounds."""

import dataclasses
import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from vaecore import evaluate, losses, objectives, runs
from vaecore.experiments import EXPERIMENTS
from vaecore.m2 import M1M2, M2
from vaecore.seeds import seeded
from vaecore.splits import label_split
from vaecore.vae import VAE, Regressor

pytest_plugins = ["small_experiments"]

BITS = (torch.arange(4 * 6).reshape(4, 6) % 5 % 2).float()
SMALL = dict(d_x=6, d_z=2, hidden=(5,), n_classes=3)


@pytest.fixture
def m2() -> M2:
    torch.manual_seed(0)
    model = M2(**SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


@pytest.fixture
def stack(small) -> M1M2:
    return runs.train(EXPERIMENTS["m1m2"].at(100, 3), small)


# ---- Where the weights start


def test_an_m2_starts_as_its_classifier_was_taught_and_with_the_mean_image(small):
    row = EXPERIMENTS["m2"].at(100, 3)
    first = runs.train(row.start(), small)
    model = objectives.build(row, small, first)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), first.parameters(), strict=True))
    mean = (small.x_train.float().mean(0) / 255).clamp(0.001, 0.999)
    torch.testing.assert_close(model.decoder.rest[-1].bias.sigmoid(), mean)


def test_a_vae_and_an_m1m2_start_from_the_weights_they_name(small, stack):
    first = runs.weights_of(EXPERIMENTS["vae_nll"], small)
    model = objectives.build(EXPERIMENTS["iwae50_nll"], small, first)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), first.parameters(), strict=True))
    for start in (first, stack):
        model = objectives.build(EXPERIMENTS["m1m2_short"], small, start)
        assert model.m1 is (start if start is first else stack.m1) and model.m2.d_x == int(model.active.numel())
    assert torch.equal(model.active, stack.active)


# ---- The terms of the loss


def value_of(small, name: str, model, rows: int = 20, **settings) -> torch.Tensor:
    loss, tensors = objectives.objective(dataclasses.replace(EXPERIMENTS[name], labels=100, **settings), model, small)
    with seeded(0), torch.no_grad():
        return loss(*(tensor[:rows] for tensor in tensors))


def noted(function, arguments: list):
    """The function, which also puts its first argument into the list."""
    return lambda x, *more: arguments.append(x) or function(x, *more)


def test_each_weight_multiplies_its_term(small):
    torch.manual_seed(0)
    model = M2(hidden=(16,))

    def value(**settings):
        return value_of(small, "m2", model, **dict(alpha=0.0, bound=None, grey=None) | settings)

    labelled, unlabelled = label_split(small.y_train, 100, seed=0)
    x = objectives.binarize(small.x_train[labelled])
    with torch.no_grad():
        classification = losses.classifier_loss(model, x, small.y_train[labelled])
        shares = losses.class_imbalance(model, objectives.binarize(small.x_train[unlabelled][:20]))
    assert (value(alpha=2.0) - value()).item() == pytest.approx(2 * classification.item(), abs=0.02)
    assert (value(equal_shares=300.0) - value()).item() == pytest.approx(300 * shares.item(), rel=0.3)
    per_label = value(alpha=None, alpha_per_label=0.02)
    torch.testing.assert_close(per_label, value(alpha=2.0))


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf])
def test_a_weight_of_the_labels_that_is_none_is_refused(m2, alpha):
    with pytest.raises(ValueError, match="alpha"):
        losses.semi_supervised_loss(m2, BITS, torch.zeros(4).long(), BITS, n_labelled=4, n_unlabelled=4, alpha=alpha)


def test_in_turn_takes_steps_on_j_and_on_the_classifier(small):
    """Odd steps are on J, which leaves no net out; even ones touch the classifier alone."""
    model = M2(hidden=(16,))
    loss, (images,) = objectives.objective(EXPERIMENTS["m2_in_turn"].at(100), model, small)
    for step in range(4):
        names, parameters = zip(*model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss(images[:9]), parameters, allow_unused=True)
        nets = {name.split(".")[0] for name, gradient in zip(names, gradients, strict=True) if gradient is not None}
        assert nets == ({"classifier"} if step % 2 else {"classifier", "encoder", "decoder"})


def test_an_m1m2_learns_from_draws_of_the_features_of_grey_pictures(small, stack, monkeypatch):
    seen = []
    monkeypatch.setattr(
        losses, "semi_supervised_loss", lambda m2, x_l, y, x_u, **_: seen.append(x_u) or torch.zeros(())
    )
    loss, (stored,) = objectives.objective(EXPERIMENTS["m1m2"].at(100), stack, small)
    loss(stored[:1].expand(4000, -1))
    q = stack.features(small.x_train[label_split(small.y_train, 100, seed=0)[1][:1]] / 255)
    torch.testing.assert_close(seen[0].mean(0), q.mu[0], rtol=0, atol=0.1)
    torch.testing.assert_close(seen[0].std(0), q.sigma[0], rtol=0.1, atol=0)


def test_on_grey_pictures_the_classifier_sees_bits(small, monkeypatch):
    model, seen = M2(hidden=(16,)), {}
    for net in ("classifier", "encoder"):
        monkeypatch.setattr(
            getattr(model, net), "forward", noted(getattr(model, net).forward, seen.setdefault(net, []))
        )
    value_of(small, "m2", model)
    assert all(set(x.unique().tolist()) == {0.0, 1.0} for x in seen["classifier"])
    assert all(len(x.unique()) > 20 for x in seen["encoder"])


@torch.no_grad()
def test_a_regressor_minimises_minus_its_log_likelihood():
    model, y = Regressor(6, 2, hidden=(5,)), torch.rand(4, 2)
    expected = -torch.distributions.Bernoulli(logits=model.net(y)).log_prob(BITS).sum(-1).mean()
    torch.testing.assert_close(losses.regressor_loss(model, BITS, y), expected)


@torch.no_grad()
def test_class_imbalance_is_the_kl_from_equal_shares(m2):
    mean = Categorical(Categorical(logits=m2.log_q_y(BITS)).probs.mean(0))
    expected = kl_divergence(mean, Categorical(torch.ones(3)))
    torch.testing.assert_close(losses.class_imbalance(m2, BITS), expected)
    with torch.no_grad():
        m2.classifier[-1].bias[0] = 1e4  # no image is left to the other classes
    torch.testing.assert_close(losses.class_imbalance(m2, BITS), torch.tensor(3.0).log())


def test_turns_need_an_even_number_of_steps(small):
    row = EXPERIMENTS["m2_in_turn"].at(100)
    model, n_unlabelled = M2(hidden=(16,)), len(small.x_train) - 100
    for n_steps, batch_size in ((1, n_unlabelled), (2, n_unlabelled - 1)):
        run = dataclasses.replace(row, batch_size=batch_size)
        if n_steps == 2:
            objectives.objective(run, model, small)
        else:
            with pytest.raises(ValueError, match="even number of steps"):
                objectives.objective(run, model, small)


# ---- The ablation's bounds

BOUNDS = torch.tensor([[-3.0, -5.0, -40.0], [-6.0, -2.0, -1.0], [-4.0, -4.0, -4.0], [-1.0, -2.0, -3.0]])
LOGITS = torch.tensor([[0.0, 1.0, -9.0], [0.0, -9.0, -9.0], [0.0, 0.0, 0.0], [-9.0, 1.0, 1.0]])


@pytest.fixture
def by_hand(m2, monkeypatch) -> M2:
    """An M2 with these bounds of each class and this q(y|x) for the four images, repeated or not."""

    def labelled_bound(x, y=None, epsilon=None):
        rows = (x[:, None] == BITS).all(-1).long().argmax(1)
        return BOUNDS[rows].T if y is None else BOUNDS[rows, y]

    monkeypatch.setattr(m2, "labelled_bound", labelled_bound)
    return m2


def test_a_bound_of_drawn_classes_is_right_on_average(by_hand):
    """The bound and its gradient in the logits of q(y|x)."""
    logits = LOGITS.clamp(min=-2).requires_grad_()  # some classes are unlikely, and count
    log_q = logits.log_softmax(-1)
    exact = (log_q.exp() * (BOUNDS - log_q)).sum(-1)
    n = 40_000
    torch.manual_seed(0)
    drawn = losses.bound_of_drawn_classes(by_hand, BITS.repeat(n, 1), log_q.repeat(n, 1)).view(n, 4)
    torch.testing.assert_close(drawn.mean(0), exact, rtol=0, atol=0.04)
    right, noisy = (torch.autograd.grad(b.sum(), logits, retain_graph=True)[0] for b in (exact, drawn.mean(0)))
    torch.testing.assert_close(noisy, right, rtol=0, atol=0.04)


def test_a_bound_of_drawn_classes_has_no_noise_where_the_classes_agree(m2, monkeypatch):
    monkeypatch.setattr(m2, "labelled_bound", lambda x, y, epsilon: -100 * x.sum(-1))
    log_q = LOGITS.clamp(min=-2).log_softmax(-1)
    expected = -100 * BITS.sum(-1) - (log_q.exp() * log_q).sum(-1)
    torch.testing.assert_close(losses.bound_of_drawn_classes(m2, BITS, log_q), expected)


def test_a_bound_of_drawn_classes_leaves_most_of_them_out(m2, monkeypatch):
    rows = []
    bound = m2.labelled_bound
    monkeypatch.setattr(m2, "labelled_bound", lambda x, y, epsilon: rows.append(len(x)) or bound(x, y, epsilon))
    sure = torch.tensor([[50.0, 0.0, 0.0]]).log_softmax(-1).expand(1000, -1)
    losses.bound_of_drawn_classes(m2, BITS[:1].expand(1000, -1), sure)
    assert 1100 < rows[0] < 1300  # one class, and a tenth of two


def test_a_bound_without_entropy_or_with_a_sampled_class(by_hand):
    q = LOGITS.softmax(-1)
    expected = (q * BOUNDS).sum(-1)
    torch.testing.assert_close(losses.bound_without_entropy(by_hand, BITS, q.log()), expected)
    torch.manual_seed(0)
    n = 20_000
    sampled = losses.bound_of_sampled_class(by_hand, BITS.repeat(n, 1), q.log().repeat(n, 1)).view(-1, 4)
    torch.testing.assert_close(sampled.mean(0), expected - (q * q.log()).sum(-1), rtol=0, atol=0.05)
    assert (sampled.std(0) - (q * BOUNDS**2).sum(-1).sub(expected**2).sqrt()).abs().max() < 0.05


@pytest.mark.parametrize("name", objectives.BOUNDS)
def test_an_experiment_minimises_the_bound_that_it_names(name, small, monkeypatch):
    bounds = []
    spy = lambda *args, unlabelled_bound, **settings: bounds.append(unlabelled_bound) or torch.zeros(())  # noqa: E731
    monkeypatch.setattr(losses, "semi_supervised_loss", spy)
    value_of(small, "m2", M2(hidden=(16,)), bound=name, equal_shares=None)
    assert bounds == [objectives.BOUNDS[name]] and (name is None or name in bounds[0].__name__)


def test_the_iwae_loss_is_its_bound_and_has_its_gradient_on_average():
    """In bf16: the copies of the weights that autocast made without a gradient must not serve where one is wanted."""
    torch.manual_seed(0)
    model = VAE(d_x=6, d_z=2, hidden=(5,))
    for name, parameter in model.named_parameters():  # z varies, and with it the weights
        torch.nn.init.normal_(parameter, std=0.3 if name.startswith("encoder") else 1.0)
    x = BITS.repeat(12_500, 1)

    def value_and_gradient(loss):
        with seeded(1), torch.autocast("cpu", torch.bfloat16):
            value = loss()
        gradients = torch.autograd.grad(value, list(model.parameters()))
        return value.detach(), torch.cat([gradient.flatten() for gradient in gradients])

    value, gradient = value_and_gradient(lambda: -evaluate.iwae_bound(model, x, k=6).mean())
    again, of_two_draws = value_and_gradient(lambda: losses.iwae_loss(model, x, k=6, n=2))
    torch.testing.assert_close(again, value, rtol=0, atol=0.02)
    torch.testing.assert_close(of_two_draws, gradient, rtol=0.03, atol=0.01)
