"""beartype as vaecore sets it up, for jaxtyping's import hook: the tests check every annotation at every call."""

from collections.abc import Callable

import numpy as np
import torch
from beartype import BeartypeConf, FrozenDict, beartype

NUMBERS = FrozenDict({int: int | np.integer | torch.Tensor, float: float | int | np.number | torch.Tensor})


def check(function: Callable) -> Callable:
    return beartype(conf=BeartypeConf(violation_type=TypeError, hint_overrides=NUMBERS))(function)
