"""The equation tests guard the equations: a wrong sign, factor or term in vaecore turns at least one of them red."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUTATIONS = {
    "nothing changed": None,
    "KL: sign of mu squared": ("distributions", "(self.mu**2 + torch.exp", "(-(self.mu**2) + torch.exp"),
    "KL: factor one half": ("distributions", "return 0.5 * (self.mu**2", "return 1.0 * (self.mu**2"),
    "KL: the other Gaussian's variance": ("distributions", "- self.log_var + other.log_var", "- self.log_var"),
    "KL: mean over latents": ("distributions", "kl_per_dimension(other).sum(-1)", "kl_per_dimension(other).mean(-1)"),
    "log-variance taken for log sigma": ("distributions", "torch.exp(0.5 * self.log_var)", "torch.exp(self.log_var)"),
    "variance for sigma in the sample": ("distributions", "self.sigma * epsilon", "self.sigma**2 * epsilon"),
    "Gaussian density: 2 pi": ("distributions", "(LOG_2PI + self.log_var + (z", "(self.log_var + (z"),
    "Gaussian density: precision": ("distributions", "torch.exp(-self.log_var)", "torch.exp(self.log_var)"),
    "entropy: the one": ("distributions", "(1 + LOG_2PI", "(LOG_2PI"),
    "Bernoulli: mean over pixels": ("distributions", 'reduction="none").sum(-1)', 'reduction="none").mean(-1)'),
    "Bernoulli: sign": ("distributions", "return -F.binary", "return F.binary"),
    "ELBO: sign of the KL": ("vae", "log_prob(x) - posterior.kl()", "log_prob(x) + posterior.kl()"),
    "ELBO: KL left out": ("vae", "log_prob(x) - posterior.kl()", "log_prob(x)"),
    "ELBO: no noise": ("vae", "posterior.rsample()", "posterior.mean"),
    "autoencoder: noise": ("pretrained", "code = model.encode(x).mean", "code = model.encode(x).rsample()"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_equation_tests_notice(name, tmp_path):
    shutil.copytree(ROOT / "vaecore", tmp_path / "vaecore", ignore=shutil.ignore_patterns("__pycache__"))
    for test in (ROOT / "tests").glob("test_equations_*.py"):
        shutil.copy(test, tmp_path)
    if MUTATIONS[name] is not None:
        module, old, new = MUTATIONS[name]
        source = tmp_path / "vaecore" / f"{module}.py"
        assert source.read_text().count(old) >= 1, f"{module}.py no longer holds {old!r}"
        source.write_text(source.read_text().replace(old, new, 1))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "."]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == (0 if MUTATIONS[name] is None else 1), run.stdout[-3000:]
    if MUTATIONS[name] is not None:
        assert "1 failed" in run.stdout and "AssertionError" in run.stdout, run.stdout[-3000:]
