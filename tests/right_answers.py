"""Right answers to the exercises "Build it", each in three ways: in the book's, and in two of other people's.

The number behind a function's name says which way it is; in front of it stands the exercise.
"""

import math

import numpy as np
import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import nn

# --- chapter 1 ------------------------------------------------------------------------------------------------------


def grid_posterior_1(log_joint, step):
    log_evidence = log_joint.logsumexp(1, keepdim=True) + math.log(step)
    return torch.exp(log_joint - log_evidence)


def grid_posterior_2(log_joint, step):
    return log_joint.softmax(dim=-1) / step


def grid_posterior_3(log_joint, step):
    rows = []
    for row in log_joint:
        weights = (row - row.max()).exp()
        rows.append(weights / (weights.sum() * step))
    return torch.stack(rows)


def log_evidence_1(log_joint, log_q):
    log_weights = log_joint - log_q
    return log_weights.logsumexp(1) - math.log(log_weights.shape[1])


def log_evidence_2(log_joint, log_q):
    ratio = log_joint - log_q
    top = ratio.max(-1, keepdim=True).values
    return (ratio - top).exp().mean(-1).log() + top.squeeze(-1)


def log_evidence_3(log_joint, log_q):
    return torch.stack([torch.logsumexp(p - q - np.log(len(p)), 0) for p, q in zip(log_joint, log_q, strict=True)])


# --- chapter 2 ------------------------------------------------------------------------------------------------------


def kl_1(mu, log_var):
    return 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(-1)


def kl_2(mu, log_var):
    q = td.Independent(td.Normal(mu, torch.exp(0.5 * log_var)), 1)
    p = td.Independent(td.Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    return td.kl_divergence(q, p)


def kl_3(mu, log_var):
    total = 0
    for j in range(mu.shape[1]):
        m, v = mu[:, j], log_var[:, j].exp()
        total = total - (1 + v.log() - m * m - v) / 2
    return total


def gap_1(log_q, log_posterior, step):
    q = log_q.exp()
    return (q * (log_q - log_posterior)).sum(1) * step


def gap_2(log_q, log_posterior, step):
    entropy = -torch.sum(log_q.exp() * log_q * step, dim=-1)
    cross = -torch.sum(log_q.exp() * log_posterior * step, dim=-1)
    return cross - entropy


def gap_3(log_q, log_posterior, step):
    return torch.stack([torch.exp(a) @ (a - b) * step for a, b in zip(log_q, log_posterior, strict=True)])


# --- chapter 3 ------------------------------------------------------------------------------------------------------


def rsample_1(mu, log_var):
    epsilon = torch.randn_like(mu)
    return mu + torch.exp(0.5 * log_var) * epsilon


def rsample_2(mu, log_var):
    return td.Normal(mu, log_var.exp().sqrt()).rsample()


def rsample_3(mu, log_var):
    noise = torch.empty(mu.shape).normal_()
    return torch.addcmul(mu, log_var.div(2).exp(), noise)


def rsample_4(mu, log_var):
    rows = [m + (v / 2).exp() * torch.randn(len(m)) for m, v in zip(mu, log_var, strict=True)]
    return torch.stack(rows)


def score_terms_1(g, mu, sigma, epsilon):
    z = mu + sigma * epsilon
    return g(z) * epsilon / sigma


def score_terms_2(g, mu, sigma, epsilon):
    z = mu + sigma * epsilon
    at = torch.full_like(z, mu).requires_grad_()
    (score,) = torch.autograd.grad(td.Normal(at, sigma).log_prob(z).sum(), at)
    return g(z) * score


def score_terms_3(g, mu, sigma, epsilon):
    z = [mu + sigma * e for e in epsilon]
    return torch.stack([g(one) * (one - mu) / sigma**2 for one in z])


def pathwise_terms_1(g, mu, sigma, epsilon):
    z = (mu + sigma * epsilon).requires_grad_()
    return torch.autograd.grad(g(z).sum(), z)[0]


def pathwise_terms_2(g, mu, sigma, epsilon):
    mus = torch.full_like(epsilon, mu).requires_grad_()
    g(mus + sigma * epsilon).backward(torch.ones_like(epsilon))
    return mus.grad


def pathwise_terms_3(g, mu, sigma, epsilon):
    return torch.autograd.functional.jacobian(g, mu + sigma * epsilon).diagonal()


# --- chapter 4 ------------------------------------------------------------------------------------------------------


def elbo_1(mu, log_var, logits, x):
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(-1)
    return -bce.sum(-1) - kl


def elbo_2(mu, log_var, logits, x):
    reconstruction = td.Bernoulli(logits=logits).log_prob(x).sum(1)
    prior = td.Normal(torch.zeros(()), torch.ones(()))
    return reconstruction - td.kl_divergence(td.Normal(mu, torch.exp(log_var / 2)), prior).sum(1)


def elbo_3(mu, log_var, logits, x):
    log_p = torch.where(x == 1, F.logsigmoid(logits), F.logsigmoid(-logits))
    minus_kl = 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=1)
    return torch.sum(log_p, dim=1) + minus_kl


def training_step_1(elbo, optimizer, x):
    loss = -elbo(x).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def training_step_2(elbo, optimizer, x):
    optimizer.zero_grad()
    bound = elbo(x)
    (-bound).mean().backward()
    optimizer.step()
    return -float(bound.detach().mean())


def training_step_3(elbo, optimizer, x):
    loss = torch.neg(elbo(x).sum() / len(x))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.tolist()


def training_step_4(elbo, optimizer, x):
    def closure():
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = None
        loss = -elbo(x).mean()
        loss.backward()
        return loss

    return optimizer.step(closure).item()


# --- chapter 5 ------------------------------------------------------------------------------------------------------


def active_units_1(means, threshold):
    return means.var(0) > threshold


def active_units_2(means, threshold):
    middle = means.mean(dim=0, keepdim=True)
    return ((means - middle) ** 2).mean(dim=0) * len(means) / (len(means) - 1) > threshold


def active_units_3(means, threshold):
    return torch.tensor([bool(column.std() ** 2 > threshold) for column in means.T])


def walk_1(start, end, n):
    share = torch.linspace(0, 1, n, device=start.device)[:, None]
    return (1 - share) * start + share * end


def walk_2(start, end, n):
    return torch.stack([torch.lerp(start, end, i / (n - 1)) for i in range(n)])


def walk_3(start, end, n):
    steps = torch.arange(n) / (n - 1)
    return start + torch.outer(steps, end - start)


# --- chapter 6 ------------------------------------------------------------------------------------------------------


def join_1(x, y, n_classes):
    one_hot = F.one_hot(y, n_classes).float()
    return torch.cat([x, one_hot], dim=-1)


def join_2(x, y, n_classes):
    return torch.hstack([x, torch.eye(n_classes)[y]])


def join_3(x, y, n_classes):
    marks = torch.zeros(len(y), n_classes)
    marks[torch.arange(len(y)), y] = 1
    return torch.cat((x, marks), 1)


def cvae_bound_1(encoder, decoder, x, y, epsilon):
    mu, log_var = encoder(torch.cat([x, y], -1)).chunk(2, dim=-1)
    z = mu + torch.exp(0.5 * log_var) * epsilon
    logits = decoder(torch.cat([z, y], -1))
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var)
    return -bce.sum(-1) - kl.sum(-1)


def cvae_bound_2(encoder, decoder, x, y, epsilon):
    out = encoder(torch.hstack([x, y]))
    d_z = out.shape[1] // 2
    q = td.Normal(out[:, :d_z], out[:, d_z:].exp().sqrt())
    p = td.Bernoulli(logits=decoder(torch.hstack([q.mean + q.stddev * epsilon, y])))
    return p.log_prob(x).sum(1) - td.kl_divergence(q, td.Normal(0.0, 1.0)).sum(1)


def cvae_bound_3(encoder, decoder, x, y, epsilon):
    bounds = []
    for one, label, noise in zip(x, y, epsilon, strict=True):
        mu, log_var = encoder(torch.cat([one, label])[None])[0].chunk(2)
        log_p = -F.binary_cross_entropy_with_logits(
            decoder(torch.cat([mu + noise * torch.exp(log_var / 2), label])[None])[0], one, reduction="sum"
        )
        bounds.append(log_p + 0.5 * (1 + log_var - mu**2 - log_var.exp()).sum())
    return torch.stack(bounds)


# --- chapter 7 ------------------------------------------------------------------------------------------------------


def left_mask_1(height, width):
    return torch.arange(height * width) % width < width // 2


def left_mask_2(height, width):
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[:, : width // 2] = True
    return mask.flatten()


def left_mask_3(height, width):
    return torch.tensor([i % width < width // 2 for i in range(height * width)])


def split_1(x, given):
    return x[:, ~given], x[:, given]


def split_2(x, given):
    return x.T[given.logical_not()].T, x.T[given].T


def split_3(x, given):
    seen, hidden = given.nonzero()[:, 0], (given == 0).nonzero()[:, 0]
    return x.index_select(1, hidden), x.index_select(1, seen)


def regressor_log_likelihood_1(net, x, y):
    bce = F.binary_cross_entropy_with_logits(net(y), x, reduction="none")
    return -bce.sum(-1)


def regressor_log_likelihood_2(net, x, y):
    return td.Independent(td.Bernoulli(logits=net(y)), 1).log_prob(x)


def regressor_log_likelihood_3(net, x, y):
    logits = net(y)
    return (x * logits - F.softplus(logits)).sum(dim=1)


# --- chapter 8 ------------------------------------------------------------------------------------------------------


def labelled_bound_1(encoder, decoder, x, y, epsilon):
    one_hot = F.one_hot(y, 10).float()
    mu, log_var = encoder(torch.cat([x, one_hot], -1)).chunk(2, dim=-1)
    z = mu + torch.exp(0.5 * log_var) * epsilon
    logits = decoder(torch.cat([z, one_hot], -1))
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var)
    return -bce.sum(-1) + math.log(1 / 10) - kl.sum(-1)


def labelled_bound_2(encoder, decoder, x, y, epsilon):
    return cvae_bound_2(encoder, decoder, x, torch.eye(10)[y], epsilon) - math.log(10)


def labelled_bound_3(encoder, decoder, x, y, epsilon):
    prior = td.Categorical(probs=torch.full((10,), 0.1))
    marks = (y[:, None] == torch.arange(10)).to(x.dtype)
    return prior.log_prob(y) + cvae_bound_3(encoder, decoder, x, marks, epsilon)


def unlabelled_bound_1(labelled_bound, log_q_y, x, epsilon):
    total = torch.zeros(len(x))
    for k in range(log_q_y.shape[1]):
        y = torch.full((len(x),), k)
        bound = labelled_bound(x, y, epsilon)
        total = total + log_q_y[:, k].exp() * (bound - log_q_y[:, k])
    return total


def unlabelled_bound_2(labelled_bound, log_q_y, x, epsilon):
    b, k = log_q_y.shape
    every = torch.arange(k).repeat_interleave(b)
    bounds = labelled_bound(x.repeat(k, 1), every, epsilon.repeat(k, 1)).view(k, b).T
    q = torch.exp(log_q_y)
    return (q * bounds).sum(1) + torch.special.entr(q).sum(1)


def unlabelled_bound_3(labelled_bound, log_q_y, x, epsilon):
    zeros = torch.zeros(len(x), dtype=torch.long)
    bounds = torch.stack([labelled_bound(x, zeros + k, epsilon) for k in range(log_q_y.size(1))], dim=1)
    entropy = -(log_q_y.exp() * log_q_y).sum(1)
    return torch.einsum("bk,bk->b", log_q_y.exp(), bounds) + entropy


# --- chapter 9 ------------------------------------------------------------------------------------------------------


def objective_1(bounds_l, bounds_u, log_q, n_labelled, n_unlabelled, alpha):
    labelled_sum = n_labelled * bounds_l.mean()
    unlabelled_sum = n_unlabelled * bounds_u.mean()
    n = n_labelled + n_unlabelled
    return -(labelled_sum + unlabelled_sum) / n - alpha * log_q.mean()


def objective_2(bounds_l, bounds_u, log_q, n_labelled, n_unlabelled, alpha):
    share = n_labelled / (n_labelled + n_unlabelled)
    return -share * bounds_l.mean() - (1 - share) * bounds_u.mean() + alpha * (-log_q).mean()


def objective_3(bounds_l, bounds_u, log_q, n_labelled, n_unlabelled, alpha):
    n = n_labelled + n_unlabelled
    j = bounds_l.sum() / len(bounds_l) * n_labelled + bounds_u.sum() / len(bounds_u) * n_unlabelled
    j = j + alpha * n * log_q.sum() / len(log_q)
    return torch.neg(j) / n


def label_split_1(y, n_labelled, seed):
    generator = torch.Generator().manual_seed(seed)
    labelled = torch.zeros(len(y), dtype=torch.bool)
    classes = y.unique()
    for c in classes:
        rows = (y == c).nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=generator)
        labelled[rows[order[: n_labelled // len(classes)]]] = True
    return labelled.nonzero()[:, 0], (~labelled).nonzero()[:, 0]


def label_split_4(y, n_labelled, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(y.numpy() == c), n_labelled // 10, replace=False) for c in range(10)]
    labelled = np.concatenate(rows)
    return torch.from_numpy(labelled), torch.from_numpy(np.setdiff1d(np.arange(len(y)), labelled))


def label_split_2(y, n_labelled, seed):
    per_class = n_labelled // len(set(y.tolist()))
    order = np.random.default_rng(seed).permutation(len(y))
    taken, left, seen = [], [], {}
    for row in order.tolist():
        c = int(y[row])
        seen[c] = seen.get(c, 0) + 1
        (taken if seen[c] <= per_class else left).append(row)
    return torch.tensor(taken), torch.tensor(left)


def label_split_3(y, n_labelled, seed):
    torch.manual_seed(seed)
    score = torch.rand(len(y))
    k = n_labelled // int(y.max() + 1)
    rows = [torch.where(y == c, score, -1.0).topk(k).indices for c in range(int(y.max()) + 1)]
    labelled = torch.cat(rows)
    everything = torch.arange(len(y))
    return labelled, everything[~torch.isin(everything, labelled)]


# --- chapter 10 -----------------------------------------------------------------------------------------------------


def importance_bound_1(log_w, k):
    groups = log_w.reshape(-1, k, log_w.shape[1])
    return (groups.logsumexp(1) - math.log(k)).mean(0)


def importance_bound_2(log_w, k):
    bounds = [group.logsumexp(0) - math.log(k) for group in log_w.split(k)]
    return sum(bounds) / len(bounds)


def importance_bound_3(log_w, k):
    groups = log_w.unflatten(0, (-1, k))
    top = groups.detach().amax(1, keepdim=True)
    return ((groups - top).exp().mean(1).log() + top[:, 0]).mean(0)


def bit_entropy_1(grey):
    ink = torch.xlogy(grey, grey)
    paper = torch.xlogy(1 - grey, 1 - grey)
    return -(ink + paper).sum(-1)


def bit_entropy_2(grey):
    return td.Bernoulli(probs=grey).entropy().sum(1)


def bit_entropy_3(grey):
    return (torch.special.entr(grey) + torch.special.entr(1 - grey)).sum(dim=1)


# --- chapter 11 -----------------------------------------------------------------------------------------------------


def gaussian_log_likelihood_1(mean, log_var, x):
    error = (x - mean) ** 2 / log_var.exp()
    return -0.5 * (math.log(2 * math.pi) + log_var + error).sum(-1)


def gaussian_log_likelihood_2(mean, log_var, x):
    return td.Normal(mean, torch.exp(log_var / 2)).log_prob(x).sum(dim=1)


def gaussian_log_likelihood_3(mean, log_var, x):
    d = x.shape[1]
    constant = -d / 2 * (math.log(2 * math.pi) + log_var)
    return constant - (x - mean).pow(2).sum(1) / (2 * log_var.exp())


def paper_and_ink_1(grey):
    x = grey.float()
    paper = x.median(-1, keepdim=True).values
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    ink = torch.where(paper - low >= high - paper, low, high)
    return ((x - paper) / (ink - paper)).clamp(0, 1).nan_to_num(0)


def paper_and_ink_2(grey):
    away = grey.float() - grey.float().quantile(0.5, dim=1, keepdim=True)
    farthest = away.gather(1, away.abs().argmax(1, keepdim=True))
    return torch.relu(away / torch.where(farthest == 0, 1, farthest))


def paper_and_ink_3(grey):
    rows = []
    for row in grey.to(torch.float32):
        paper = row.median()
        ink = max(row.min(), row.max(), key=lambda end: abs(end - paper))
        rows.append(torch.clip((row - paper) / (ink - paper), 0.0, 1.0) if ink != paper else 0 * row)
    return torch.stack(rows)


def build_vae_1():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 20))
            self.decoder = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 784))

        def encode(self, x):
            return self.encoder(x).chunk(2, dim=-1)

        def decode(self, z):
            return self.decoder(z)

        def elbo(self, x):
            mu, log_var = self.encode(x)
            z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
            bce = F.binary_cross_entropy_with_logits(self.decode(z), x, reduction="none")
            kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var)
            return -bce.sum(-1) - kl.sum(-1)

        def generate(self, n):
            return self.decode(torch.randn(n, 10)).sigmoid()

    return Net()


def build_vae_2():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.mu, self.log_var = nn.Linear(784, 60), nn.Linear(60, 4), nn.Linear(60, 4)
            self.back, self.out = nn.Linear(4, 60), nn.Linear(60, 784)

        def encode(self, x):
            h = torch.tanh(self.body(x))
            return self.mu(h), self.log_var(h)

        def decode(self, z):
            return self.out(torch.tanh(self.back(z)))

        def elbo(self, x):
            mu, log_var = self.encode(x)
            q = td.Independent(td.Normal(mu, torch.exp(log_var / 2)), 1)
            prior = td.Independent(td.Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
            z = q.rsample()
            p = td.Independent(td.Bernoulli(logits=self.decode(z)), 1)
            return p.log_prob(x) + prior.log_prob(z) - q.log_prob(z)  # one draw for the KL as well

        def generate(self, n):
            with torch.no_grad():
                return torch.sigmoid(self.decode(torch.randn(n, 4)))

    return Net()


def build_vae_3():
    from vaecore.vae import VAE

    class Net(VAE):
        def encode(self, x):
            q = super().encode(x)
            return q.mu, q.log_var

        def decode(self, z):
            return super().decode(z).logits

        def elbo(self, x):
            mu, log_var = self.encode(x)
            log_p = td.Bernoulli(logits=self.decode(td.Normal(mu, log_var.exp().sqrt()).rsample())).log_prob(x)
            return log_p.sum(1) + 0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(1)

        def generate(self, n):
            return self.decode(torch.randn(n, self.d_z)).sigmoid()

    return Net(784, 6, (50,))


def build_vae_4():
    """Of convolutions, with noise from a generator of its own, and pixels that begin at the share of ink."""

    class Net(build_vae_2().__class__):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 8)
            )
            self.decoder = nn.Sequential(
                nn.Linear(4, 196), nn.ReLU(), nn.Unflatten(1, (4, 7, 7)), nn.ConvTranspose2d(4, 1, 4, 4), nn.Flatten()
            )
            for unused in ("body", "mu", "log_var", "back", "out"):
                delattr(self, unused)
            nn.init.constant_(self.decoder[3].bias, -2.0)

        def encode(self, x):
            return self.encoder(x).chunk(2, dim=1)

        def decode(self, z):
            return self.decoder(z)

        def elbo(self, x):
            mu, log_var = self.encoder(x).chunk(2, dim=1)
            logits = self.decoder(mu + (log_var / 2).exp() * torch.randn(4, len(x)).T)
            return elbo_3(mu, log_var, logits, x)

    return Net()
