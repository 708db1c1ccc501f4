"""Variational autoencoders in small, readable PyTorch.

Arguments are checked against their annotations by beartype in the modules listed below; in those that every training
step runs through (distributions, vae, m2, losses) the tests check them. numpy's and torch's numbers pass for Python's.
"""

import numpy as np
import torch
from beartype import BeartypeConf, FrozenDict
from beartype.claw import beartype_packages
from jaxtyping import Int, Real

CHECKED = (
    "checkpoints data devices diagrams download evaluate experiments explorer figures idx objectives records runs"
    " seeds splits train"
)
whole, real = int | np.integer | Int[torch.Tensor, ""], np.floating | Real[torch.Tensor, ""]
numbers = FrozenDict({int: whole, float: float | whole | real})
beartype_packages(
    [f"{__name__}.{name}" for name in CHECKED.split()],
    conf=BeartypeConf(violation_type=TypeError, hint_overrides=numbers),
)
