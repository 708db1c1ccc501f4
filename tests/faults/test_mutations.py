"""The equation tests guard the equations: a wrong sign, factor or term in vaecore turns at least one of them red."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

BLIND = '"decoder", self._join(z, y if y is None else 0 * y)'
LABELLED = "model.labelled_bound(x_l, y_l).sum()"
UNLABELLED = "unlabelled_bound(model, x_u, model.log_q_y(seen_u)).sum()"
MUTATIONS = {
    "KL: sign of mu squared": ("distributions", "(mu**2 + torch.exp", "(-(mu**2) + torch.exp"),
    "KL: factor one half": ("distributions", "return 0.5 * (mu**2", "return 1.0 * (mu**2"),
    "KL: the other Gaussian's variance": ("distributions", "log_var - other.log_var", "log_var"),
    "KL: mean over latents": ("distributions", "kl_per_dimension(other).sum(-1)", "kl_per_dimension(other).mean(-1)"),
    "log-variance taken for log sigma": ("distributions", "torch.exp(0.5 * self.log_var)", "torch.exp(self.log_var)"),
    "variance for sigma in the sample": ("distributions", "self.sigma * epsilon", "self.sigma**2 * epsilon"),
    "Gaussian density: 2 pi": ("distributions", "(LOG_2PI + self.log_var + eps", "(self.log_var + eps"),
    "Gaussian density: precision": ("distributions", "torch.exp(-0.5 * self.log_var)", "torch.exp(0.5 * self.log_var)"),
    "entropy: the one": ("distributions", "(1 + LOG_2PI", "(LOG_2PI"),
    "Bernoulli: mean over pixels": ("distributions", 'reduction="none").sum(-1)', 'reduction="none").mean(-1)'),
    "Bernoulli: sign": ("distributions", "return -F.binary", "return F.binary"),
    "ELBO: sign of the KL": ("vae", "log_prob(x) - posterior.kl()", "log_prob(x) + posterior.kl()"),
    "ELBO: KL left out": ("vae", "log_prob(x) - posterior.kl()", "log_prob(x)"),
    "ELBO: no noise": ("vae", "posterior.rsample()", "posterior.mean"),
    "autoencoder: noise": ("losses", "code = model.encode(x).mean", "code = model.encode(x).rsample()"),
    "CVAE: decoder blind to y": ("vae", '"decoder", self._join(z, y)', BLIND),
    "IWAE: mean of the logs": ("evaluate", "x, y).logsumexp(0) - math.log(k)", "x, y).mean(0)"),
    "IWAE: sum of the weights": ("evaluate", "x, y).logsumexp(0) - math.log(k)", "x, y).logsumexp(0)"),
    "IWAE: z without gradient": ("evaluate", "_expand(q, k).rsample()", "_expand(q, k).rsample().detach()"),
    "IWAE: q without gradient": ("evaluate", "- q.log_prob(z)", "- q.log_prob(z).detach()"),
    "IWAE: prior left out": ("evaluate", "+ prior.log_prob(z) - q", "- q"),
    "M2: log p(y) left out": ("m2", "log_prob(x) + log_p_y - post", "log_prob(x) - post"),
    "M2: KL left out": ("m2", "log_p_y - posterior.kl()", "log_p_y"),
    "M2: log-likelihood left out": ("m2", "return likelihood.log_prob(x) + log_p_y", "return log_p_y"),
    "M2: no noise": ("m2", "posterior.rsample(epsilon)", "posterior.mean"),
    "M2: nets blind to y": ("m2", "(a) + self.columns[:, None]", "(a) + 0 * self.columns[:, None]"),
    "U: entropy left out": ("m2", "(self.labelled_bound(x) - log_q_y)", "self.labelled_bound(x)"),
    "U: sign of the entropy": ("m2", "self.labelled_bound(x) - log_q_y", "self.labelled_bound(x) + log_q_y"),
    "U: mean over the classes": ("m2", "- log_q_y)).sum(0)", "- log_q_y)).mean(0)"),
    "J: labelled images left out": ("losses", "-(labelled_sum + unlabelled_sum)", "-unlabelled_sum"),
    "J: unlabelled images left out": ("losses", "-(labelled_sum + unlabelled_sum)", "-labelled_sum"),
    "J: classification left out": ("losses", " + alpha * classifier_loss(model, seen_l, y_l)", ""),
    "J: classification's sign": ("losses", "+ alpha * classifier_loss", "- alpha * classifier_loss"),
    "J: classification summed": ("losses", "alpha * classifier_loss", "alpha * len(y_l) * classifier_loss"),
    "J: alpha a share of the labelled": (
        "losses",
        "+ alpha * ",
        "+ alpha * n_labelled / (n_labelled + n_unlabelled) * ",
    ),
    "J: labelled batch for all": ("losses", "n_labelled * model.labelled_bound(x_l, y_l).mean()", LABELLED),
    "J: unlabelled batch for all": (
        "losses",
        "n_unlabelled * unlabelled_bound(model, x_u, model.log_q_y(seen_u)).mean()",
        UNLABELLED,
    ),
}


@pytest.fixture(scope="module")
def found():
    """What the equation tests found with each mutation."""
    given = []
    for name, (module, old, new) in MUTATIONS.items():
        source = (ROOT / "vaecore" / f"{module}.py").read_text(encoding="utf-8")
        assert old in source, f"{name}: {module}.py no longer holds {old!r}"
        given.append([module, source.replace(old, new, 1)])
    run = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--given"],
        cwd=ROOT,
        input=json.dumps(given),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr  # so too if a test fails without any fault
    lines = map(json.loads, run.stdout.splitlines())
    return {list(MUTATIONS)[line["number"]]: line["found"] for line in lines}


@pytest.mark.parametrize("name", MUTATIONS)
def test_equation_tests_notice(name, found, tally):
    assert found[name] == "wrong"
    tally("mutants", 1, 1)
