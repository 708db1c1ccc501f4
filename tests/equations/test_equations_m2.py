"""M2's equations (arXiv:1406.5298, sec. 3.1.2), against enumeration, quadrature, linear algebra."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from vaecore import evaluate
from vaecore.distributions import Gaussian
from vaecore.losses import semi_supervised_loss
from vaecore.m2 import M2, LabelledMLP

IMAGES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
K = 4
CLASSES = torch.eye(K, dtype=torch.float64)
Z = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
DZ = (Z[1] - Z[0]).item()
PRIOR = Normal(torch.zeros(1, dtype=torch.float64), 1.0)
DENSITY = PRIOR.log_prob(Z).exp().squeeze(-1) * DZ  # weights of the grid: an average under N(0, 1)


@pytest.fixture
def model() -> M2:
    """Three pixels, four classes, one latent; nets that look at what they are given."""
    torch.manual_seed(0)
    model = M2(d_x=3, d_z=1, hidden=(6,), n_classes=K, activation="tanh").double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        for net in (model.encoder, model.decoder):
            net.columns.uniform_(-1, 1)
    return model


def plain(net: LabelledMLP):
    """The same net as one takes it from the paper: a and the one-hot y side by side into the first layer."""
    weight = torch.cat([net.first.weight, net.columns.T], dim=1)
    return lambda a, y: net.rest(F.linear(torch.cat([a, y.expand(len(a), -1)], dim=-1), weight, net.first.bias))


class Exact:
    """All that is known of a tiny Bernoulli M2, for every image and class, by one-hot labels and sums over a grid."""

    def __init__(self, model: M2) -> None:
        encoder, self.decoder = plain(model.encoder), plain(model.decoder)
        codes = [encoder(IMAGES, y).chunk(2, -1) for y in CLASSES]
        self.q_z = [Normal(mu, torch.exp(log_var / 2)) for mu, log_var in codes]
        self.q_y = torch.softmax(model.classifier(IMAGES), -1)  # (8, K)
        log_likelihood = torch.stack([self.log_likelihood(Z, y) for y in range(K)])  # (K, G, 8)
        density = torch.stack([q.log_prob(Z[:, None]).exp().squeeze(-1) for q in self.q_z])  # (K, G, 8)
        joint = log_likelihood.exp() * PRIOR.log_prob(Z).exp() / K  # p(x,y,z)
        self.p_xy = joint.sum(1).T * DZ  # (8, K)
        self.p_x = self.p_xy.sum(-1)
        kl = torch.stack([kl_divergence(q, PRIOR).squeeze(-1) for q in self.q_z])
        self.bound_xy = ((density * log_likelihood).sum(1) * DZ - kl + math.log(1 / K)).T  # (8, K)
        posterior = joint / self.p_xy.T[:, None]
        self.gap_z = ((density * (density / posterior).log()).nan_to_num().sum(1) * DZ).T  # KL(q(z|x,y)||p(z|x,y))

    def log_likelihood(self, z, y):
        """log p(x|y,z) of all images at points z (G, 1), (G, 8)."""
        return TorchBernoulli(logits=self.decoder(z, CLASSES[y])[:, None]).log_prob(IMAGES).sum(-1)

    def one_sample(self, epsilon: float | torch.Tensor) -> torch.Tensor:
        """The estimate of every image's and class's bound whose noise is epsilon, one number or (8, 1): (8, K)."""
        columns = []
        for y, q in enumerate(self.q_z):
            log_likelihood = self.log_likelihood(q.mean + epsilon * q.stddev, y).diag()
            columns.append(log_likelihood - kl_divergence(q, PRIOR).squeeze(-1) - math.log(K))
        return torch.stack(columns, -1)


def expected(bound, *rows, monkeypatch):
    """E[bound(*rows)] over the noise, (B,): every image meets the whole grid."""
    n = len(rows[0])
    with monkeypatch.context() as patch:
        patch.setattr(Gaussian, "rsample", lambda q, *_: q.mu + q.sigma * Z.repeat(n, 1))
        return bound(*(r.repeat_interleave(len(Z), 0) for r in rows)).reshape(n, -1) @ DENSITY


@torch.no_grad()
def test_m2_labelled(model, monkeypatch):
    exact = Exact(model)
    torch.testing.assert_close(exact.p_xy.sum(), torch.ones(()).double())  # with log p(y), a distribution of both
    for y in range(K):
        ours = expected(model.labelled_bound, IMAGES, torch.full((8,), y), monkeypatch=monkeypatch)
        torch.testing.assert_close(ours, exact.bound_xy[:, y], rtol=0, atol=1e-6)
        torch.testing.assert_close(ours + exact.gap_z[:, y], exact.p_xy[:, y].log(), rtol=0, atol=1e-6)
        assert (ours < exact.p_xy[:, y].log()).all()


@torch.no_grad()
def test_m2_unlabelled(model, monkeypatch):
    exact = Exact(model)
    ours = expected(model.unlabelled_bound, IMAGES, monkeypatch=monkeypatch)
    summed = (exact.q_y * exact.bound_xy).sum(-1) + Categorical(exact.q_y).entropy()
    torch.testing.assert_close(ours, summed, rtol=0, atol=1e-6)
    assert (ours < exact.p_x.log()).all()
    # what is missing: how wrong q(y|x) is, and how wrong each q(z|x,y)
    gap_y = kl_divergence(Categorical(exact.q_y), Categorical(exact.p_xy))
    missing = gap_y + (exact.q_y * exact.gap_z).sum(-1)
    torch.testing.assert_close(ours + missing, exact.p_x.log(), rtol=0, atol=1e-6)


@torch.no_grad()
def test_m2_estimate(model):
    """The package's draw, against the sum over classes at one noise for each picture."""
    exact = Exact(model)
    torch.manual_seed(0)
    epsilon = torch.randn(8, 1, dtype=torch.float64)
    torch.manual_seed(0)
    ours = model.unlabelled_bound(IMAGES)
    summed = (exact.q_y * (exact.one_sample(epsilon) - exact.q_y.log())).sum(-1)
    torch.testing.assert_close(ours, summed)


@torch.no_grad()
def test_m2_gap(model, monkeypatch):
    """What the bound misses, against the KL of the pairs (y, z) by quadrature, and that against its two parts."""
    exact = Exact(model)
    missing = exact.p_x.log() - expected(model.unlabelled_bound, IMAGES, monkeypatch=monkeypatch)
    pairs = torch.zeros(len(IMAGES), dtype=torch.float64)
    for y, q in enumerate(exact.q_z):
        log_q = exact.q_y[:, y].log() + q.log_prob(Z[:, None]).squeeze(-1)  # of the pair, (G, 8)
        log_p = exact.log_likelihood(Z, y) + PRIOR.log_prob(Z) - math.log(K) - exact.p_x.log()
        pairs += (log_q.exp() * (log_q - log_p)).nan_to_num().sum(0) * DZ
    torch.testing.assert_close(missing, pairs, rtol=0, atol=1e-6)
    parts = kl_divergence(Categorical(exact.q_y), Categorical(exact.p_xy)) + (exact.q_y * exact.gap_z).sum(-1)
    torch.testing.assert_close(pairs, parts, rtol=0, atol=1e-6)


class LinearGaussian:
    """x = w z + c_y + s * noise, as an M2 without hidden layers: p(x), p(y|x) and p(z|x,y) are within its reach."""

    w, s = torch.tensor([[1.2, -0.7], [0.6, 0.9]]).double()
    c = torch.tensor([[0.0, 0.5], [1.0, -1.0], [-1.5, 0.3]]).double()  # (K, D)
    x = torch.tensor([[0.0, 0.0], [1.5, -2.0], [-0.4, 2.2]]).double()
    x_given_y = MultivariateNormal(c, torch.outer(w, w) + torch.diag(s**2))

    def log_p_xy(self):
        return self.x_given_y.log_prob(self.x[:, None]) - math.log(3)  # (B, K)

    def model(self) -> M2:
        model = M2(d_x=2, d_z=1, hidden=(), n_classes=3, likelihood="gaussian").double()
        precision = 1 + (self.w**2 / self.s**2).sum()
        pull = self.w / self.s**2 / precision
        to_y = self.c @ self.x_given_y.precision_matrix[0]  # equal covariances make log p(y|x) linear in x
        zeros = torch.zeros(2).double()
        with torch.no_grad():
            for parameter, value in {
                model.decoder.first.weight: torch.cat([self.w, zeros])[:, None],
                model.decoder.first.bias: torch.cat([zeros, 2 * self.s.log()]),
                model.decoder.columns: torch.cat([self.c, torch.zeros(3, 2)], dim=1),
                model.encoder.first.weight: torch.stack([pull, zeros]),
                model.encoder.first.bias: torch.stack([torch.zeros(()), -precision.log()]),
                model.encoder.columns: torch.stack([-self.c @ pull, torch.zeros(3)], dim=1),
                model.classifier[0].weight: to_y,
                model.classifier[0].bias: -(to_y * self.c).sum(-1) / 2,
            }.items():
                parameter.copy_(value)
        return model


@torch.no_grad()
def test_m2_unlabelled_is_log_p_x_at_the_true_posteriors(monkeypatch):
    story = LinearGaussian()
    model, log_p_x = story.model(), story.log_p_xy().logsumexp(-1)
    torch.testing.assert_close(model.log_q_y(story.x), story.log_p_xy() - log_p_x[:, None])
    ours = expected(model.unlabelled_bound, story.x, monkeypatch=monkeypatch)
    torch.testing.assert_close(ours, log_p_x, rtol=0, atol=1e-9)
    for y in range(3):
        classes = torch.full((3,), y)
        ours = expected(model.labelled_bound, story.x, classes, monkeypatch=monkeypatch)
        torch.testing.assert_close(ours, story.log_p_xy()[:, y], rtol=0, atol=1e-9)
        by_samples = evaluate.log_evidence(model, story.x, classes, n_samples=3) - math.log(3)
        torch.testing.assert_close(by_samples, story.log_p_xy()[:, y], rtol=0, atol=1e-5, check_dtype=False)
    for parameter in (model.classifier[0].bias, model.encoder.first.bias, model.encoder.columns):
        kept = parameter.clone()
        parameter[0] += 0.3
        assert (expected(model.unlabelled_bound, story.x, monkeypatch=monkeypatch) < log_p_x - 1e-3).all()
        parameter.copy_(kept)


@torch.no_grad()
def test_m2_first_layer(model):
    """The layer of (a, one-hot y), against W a + b and a column; of every class at once, class by class."""
    for net, a in ((model.encoder, IMAGES), (model.decoder, Z[::500])):
        every = net(a, None)
        for y in range(K):
            torch.testing.assert_close(plain(net)(a, CLASSES[y]), net(a, torch.full((len(a),), y)))
            torch.testing.assert_close(plain(net)(a, CLASSES[y]), every[y])


@torch.no_grad()
def test_m2_best_q():
    """No belief is better than the softmax of the bounds, where the sum is their logsumexp; without entropy, one is."""
    torch.manual_seed(0)
    bounds = 3 * torch.randn(K).double()
    beliefs = torch.distributions.Dirichlet(torch.full((K,), 0.5).double()).sample((100_000,)).clamp_min(1e-30)
    best = torch.exp(bounds) / torch.exp(bounds).sum()
    values = (beliefs * (bounds - beliefs.log())).sum(-1)
    at_best = (best * (bounds - best.log())).sum()
    assert values.max() < at_best < values.max() + 0.05
    torch.testing.assert_close(at_best, torch.exp(bounds).sum().log())
    torch.testing.assert_close(at_best - values, kl_divergence(Categorical(beliefs), Categorical(best)))
    assert (beliefs * bounds).sum(-1).max() <= bounds.max()


def test_m2_score(model, monkeypatch):
    """The sum's gradient in the classifier's logits, by autograd, against the score-function terms of every class."""
    monkeypatch.setattr(Gaussian, "rsample", lambda q, *_: q.mu + 0.7 * q.sigma)
    x = IMAGES[3:4]
    terms = []
    for y in range(K):
        log_q_y = model.log_q_y(x)[0, y]
        score = torch.autograd.grad(log_q_y, model.classifier[-1].bias)[0]
        terms.append(log_q_y.exp() * (model.labelled_bound(x, torch.tensor([y])) - log_q_y) * score)
    enumerated = torch.autograd.grad(model.unlabelled_bound(x).sum(), model.classifier[-1].bias)[0]
    torch.testing.assert_close(sum(terms).detach(), enumerated)


def test_m2_softmax():
    """Every probability's derivative in every logit, by autograd."""
    logits = torch.randn(K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q = logits.softmax(0)
    by_hand = q[:, None] * (torch.eye(K, dtype=torch.float64) - q)
    by_autograd = torch.autograd.functional.jacobian(lambda logits: logits.softmax(0), logits)
    torch.testing.assert_close(by_hand, by_autograd)


@torch.no_grad()
def test_m2_objective(model, monkeypatch):
    """Against J^alpha written out image by image and class by class, over N = 12, at one and the same noise."""
    exact, epsilon = Exact(model), 0.7
    monkeypatch.setattr(Gaussian, "rsample", lambda q, *_: q.mu + q.sigma * epsilon)
    labelled, y, unlabelled = [0, 3, 5, 6], [2, 0, 1, 3], [7, 6, 5, 4, 3, 2, 1, 0]
    bounds, n = exact.one_sample(epsilon), 12
    sum_l = sum(bounds[i, c] for i, c in zip(labelled, y, strict=True))
    sum_u = sum(sum(exact.q_y[i, c] * (bounds[i, c] - exact.q_y[i, c].log()) for c in range(K)) for i in unlabelled)
    mean_log_q_y = sum(exact.q_y[i, c].log() for i, c in zip(labelled, y, strict=True)) / len(labelled)
    j = -sum_l - sum_u
    x_l, y_l, x_u = IMAGES[labelled], torch.tensor(y), IMAGES[unlabelled]
    counts = dict(n_labelled=4, n_unlabelled=8)
    for alpha in (0.1, 2.5):
        j_alpha = j - alpha * n * mean_log_q_y
        torch.testing.assert_close(semi_supervised_loss(model, x_l, y_l, x_u, alpha=alpha, **counts), j_alpha / n)
    torch.testing.assert_close(semi_supervised_loss(model, x_l, y_l, x_u, **counts), j / n - 0.1 * mean_log_q_y)
    # batches of other proportions than the data's mean the same, on average
    parts = itertools.product(zip(x_l.split(1), y_l.split(1), strict=True), x_u.split(4))
    losses = [semi_supervised_loss(model, *some_l, some_u, **counts) for some_l, some_u in parts]
    torch.testing.assert_close(torch.stack(losses).mean(), j / n - 0.1 * mean_log_q_y)
