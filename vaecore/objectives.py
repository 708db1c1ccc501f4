"""From an experiment to a model and to what is minimised."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from . import evaluate, losses
from .checkpoints import unwrap
from .data import Pictures, binarize
from .distributions import Gaussian
from .experiments import CLASSES, Experiment
from .m2 import M1M2, M2
from .seeds import seeded
from .splits import draw_rows, label_split, split_bits
from .train import History, fingerprint, fit
from .vae import VAE

Objective = tuple[Callable[..., Tensor], tuple[Tensor, ...]]  # a loss, and the tensors that its batches are taken from
BOUNDS = {
    None: M2.unlabelled_bound,
    "drawn_classes": losses.bound_of_drawn_classes,
    "without_entropy": losses.bound_without_entropy,
    "sampled_class": losses.bound_of_sampled_class,
}
WITHOUT_LABELS = {
    "vae": losses.vae_loss,
    "autoencoder": losses.autoencoder_loss,
    "regressor": losses.regressor_loss,
    "iwae": losses.iwae_loss,
}


def build(experiment: Experiment, digits: Pictures, first: nn.Module | None) -> nn.Module:
    """The untrained model, or one that starts from the weights of `first`, the model of experiment.start().

    An M1+M2 takes over its M1, any other model all weights.
    """
    if experiment.model == "M1M2":
        return _stack(experiment, digits, first)
    model: Any = CLASSES[experiment.model](**experiment.sizes)
    if experiment.mean_image:
        start_at_mean_image(model, digits)
    if first is not None:
        model.load_state_dict(first.state_dict())
    return model


def _stack(experiment: Experiment, digits: Pictures, first: nn.Module | None) -> M1M2:
    if isinstance(first, M1M2):
        m1, active = first.m1, torch.zeros(first.m1.d_z, dtype=torch.bool)
        active[first.active.cpu()] = True
    else:
        assert isinstance(first, VAE), "an M1+M2 starts from a VAE or from another M1+M2"
        with seeded(0, digits.x_train.device):
            m1, active = first, evaluate.active_units(first, binarize(digits.x_train)).cpu()
    return M1M2(m1, M2(d_x=int(active.sum()), **experiment.sizes), active)


def start_at_mean_image(model: Any, digits: Pictures) -> None:
    """Set the decoder's last bias so that it begins, up to the noise of its weights, with the mean image."""
    mean = (digits.x_train.float().mean(0).cpu() / 255).clamp(0.001, 0.999)
    with torch.no_grad():
        getattr(model.decoder, "rest", model.decoder)[-1].bias.copy_(mean.logit())


def m2_input(model: M2 | M1M2, images: UInt8[Tensor, "B D"]) -> Float[Tensor, "B A"]:
    """What the M2 of the model sees of images: their bits or, on an M1, a draw of their features."""
    bits = binarize(images)
    return model.features(bits).rsample() if isinstance(model, M1M2) else bits


def objective(experiment: Experiment, model: Any, digits: Pictures) -> Objective:
    """The loss of a batch, and the tensors that batches are taken from."""
    given, labels = experiment.given, experiment.labels or 0
    if experiment.objective == "classifier":
        stored, view = _inputs(model, digits, bool(experiment.grey))
        labelled, _ = label_split(digits.y_train, labels, seed=experiment.draw)
        m2, tensors = trained_part(model), (stored[labelled], digits.y_train[labelled])
        return lambda rows, y: losses.classifier_loss(m2, view(rows), y), tensors
    if experiment.is_labelled:
        names = ("bound", "equal_shares", "labelled_batch", "alpha")
        settings: dict[str, Any] = {name: getattr(experiment, name) for name in names}
        settings |= dict(in_turn=experiment.objective == "in_turn", grey=bool(experiment.grey))
        if experiment.alpha_per_label is not None:
            settings["alpha"] = experiment.alpha_per_label * labels
        loss, tensors = _semi_supervised(model, digits, labels, experiment.draw, **settings)
        n_steps = -(-len(tensors[0]) // experiment.batch_size)
        if settings["in_turn"] and n_steps % 2:
            raise ValueError(f"batch_size must give an even number of steps for in_turn; got {n_steps} an epoch.")
        return loss, tensors
    loss = partial(WITHOUT_LABELS[experiment.objective], model)
    if experiment.objective == "iwae":
        loss = partial(loss, k=experiment.k, n=experiment.n)
    if given is None:
        return lambda images: loss(binarize(images)), (digits.x_train,)
    return lambda images: loss(*split_bits(images, given)), (digits.x_train,)


def _semi_supervised(
    model: nn.Module,
    digits: Pictures,
    n_labelled: int,
    draw: int,
    *,
    alpha: float,
    bound: str | None = None,
    equal_shares: float | None = None,
    grey: bool = False,
    in_turn: bool = False,
    labelled_batch: int = 100,
) -> Objective:
    """J^alpha / N of up to `labelled_batch` labelled images and a batch of others, plus the weighted class imbalance.

    `in_turn`: J and the classifier's term take a step each, as in the code of the source's [3]; an epoch must then have
    an even number of steps, and the loss counts them, so make a new one to go on with a run. The other settings are
    those of an Experiment.
    """
    inner = unwrap(model)
    m2 = trained_part(inner)
    stored, view = _inputs(inner, digits, grey)
    labelled, unlabelled = label_split(digits.y_train, n_labelled, seed=draw)
    x_l, y_l = stored[labelled], digits.y_train[labelled]
    corrupt = torch.bernoulli if grey and m2 is inner else None
    j = partial(losses.semi_supervised_loss, m2, n_labelled=len(labelled), n_unlabelled=len(unlabelled))
    j = partial(j, alpha=0.0 if in_turn else alpha, unlabelled_bound=BOUNDS[bound], corrupt=corrupt)
    step = itertools.count()

    def loss(rows: Tensor) -> Tensor:
        chosen = draw_rows(labelled_batch, len(x_l), x_l.device)
        x, y = view(x_l[chosen]), y_l[chosen]
        if in_turn and next(step) % 2:
            return alpha * losses.classifier_loss(m2, corrupt(x) if corrupt else x, y)
        x_u = view(rows)
        value = j(x, y, x_u)
        return value if equal_shares is None else value + equal_shares * losses.class_imbalance(m2, x_u)

    return loss, (stored[unlabelled],)


def fit_semi_supervised(
    model: nn.Module, digits: Pictures, n_labelled: int, draw: int, alpha: float = 0.1, **settings
) -> History:
    """Train an M2 on the training images' bits, or the M2 of an M1+M2 on its features, with n_labelled labels.

    Which images have labels is drawn by the seed `draw`; `settings` go to train.fit, `data` with what else decides
    the loss.
    """
    loss, tensors = _semi_supervised(model, digits, n_labelled, draw, alpha=alpha)
    labels = fingerprint([digits.y_train])
    inner, data = unwrap(model), f"{digits.describe()}, labels {labels}, alpha={alpha:g}"
    if isinstance(inner, M1M2):
        data += f", features {fingerprint(inner.m1.state_dict().values())}"
    settings["data"] = ", ".join(filter(None, (settings.get("data"), data)))
    return fit(trained_part(inner), loss, *tensors, **settings)


def trained_part(model: Any) -> Any:
    """Return what training changes: the M2 of an M1+M2, otherwise the model."""
    return model.m2 if isinstance(model, M1M2) else model


def _inputs(model: M2 | M1M2, digits: Pictures, grey: bool) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """A row for each training image, and what makes inputs of M2 from rows: bits, grey pictures or features."""
    if not grey:
        return digits.x_train, partial(m2_input, model)
    if isinstance(model, M2):
        return digits.x_train, lambda images: images / 255
    with torch.no_grad():
        features = [model.features(images / 255) for images in digits.x_train.split(1000)]
    return torch.cat([torch.cat([q.mu, q.log_var], dim=-1) for q in features]), _draw_feature


def _draw_feature(stored: Float[Tensor, "B M"]) -> Float[Tensor, "B A"]:
    """A draw of z1 from the means and log-variances of some images."""
    return Gaussian(*stored.chunk(2, dim=-1)).rsample()
