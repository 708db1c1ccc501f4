"""beartype as vaecore sets it up, for jaxtyping's import hook: the tests check every annotation at every call."""

from collections.abc import Callable

import numpy as np
import torch
from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import Int, Real

WHOLE, REAL = int | np.integer | Int[torch.Tensor, ""], np.floating | Real[torch.Tensor, ""]
NUMBERS = FrozenDict({int: WHOLE, float: float | WHOLE | REAL})


def check(function: Callable) -> Callable:
    return beartype(conf=BeartypeConf(violation_type=TypeError, hint_overrides=NUMBERS))(function)
