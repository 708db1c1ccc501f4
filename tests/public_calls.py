"""All public functions and classes of vaecore, found by introspection, and for each a call that works."""

import hashlib
import inspect
import types
from collections.abc import Callable
from pathlib import Path

import torch
from explorer_pages import GRID, log_normal

import vaecore
from vaecore import (
    checkpoints,
    data,
    diagrams,
    distributions,
    evaluate,
    explorer,
    figures,
    m2,
    pretrained,
    records,
    splits,
    train,
    vae,
)

MODULES = (distributions, vae, m2, evaluate, data, splits, train, checkpoints, pretrained, records, figures, diagrams)
PACKAGE = Path(vaecore.__file__).parent
WITHOUT = {  # public by name, and not called with arguments of a reader's
    "vae.check_architecture": "looks at others' arguments",
    "vae.for_net": "looks at others' arguments",
    "figures.check_images": "looks at others' arguments",
    "distributions.at_least_float32": "of the nets' outputs",
    "m2.LabelledMLP.forward": "M2 has looked",
    "train.Recorded": "fit's own",
    "evaluate.Spread": "a result",
    "pretrained.main": "a command, by argparse",
}


def public() -> dict[str, Callable]:
    """Functions, classes and their methods, by name, of all modules, each where it is defined."""
    found = {f"explorer.{name}": getattr(explorer, name) for name in explorer.__all__}
    for module in MODULES:
        short = module.__name__.removeprefix("vaecore.")
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", "") != module.__name__ or not callable(thing):
                continue
            found[f"{short}.{name}"] = thing
            if isinstance(thing, type):
                for method, function in vars(thing).items():
                    if not method.startswith("_") and isinstance(function, types.FunctionType | classmethod):
                        found[f"{short}.{name}.{method}"] = getattr(thing, method)
    return {name: thing for name, thing in found.items() if name not in WITHOUT and arguments(thing)}


def arguments(thing: Callable) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(thing).parameters.items()
    return {n: p for n, p in parameters if n != "self" and p.kind is not p.VAR_KEYWORD}


def calls(digits: data.Digits, folder: Path) -> dict[str, tuple[Callable, dict]]:
    """For every name of `public`, what is called, and arguments with which it works."""
    torch.manual_seed(0)
    few = data.Digits("few", digits.x_train[:200], digits.y_train[:200], digits.x_test[:200], digits.y_test[:200])
    x, y = (torch.rand(3, 6) > 0.5).float(), torch.tensor([0, 1, 2])
    net, labelled = vae.VAE(6, 2, (4,)), vae.VAE(6, 2, (4,), d_y=3)
    m, g = m2.M2(6, 2, (4,), 3), m2.M2(2, 2, (4,), 3, likelihood="gaussian")
    stack = m2.M1M2(vae.VAE(6, 3, (4,)), g, torch.tensor([True, False, True]))
    mnist, regressor, pixels = vae.VAE(hidden=(4,), d_z=2), vae.Regressor(6, 3, (4,)), digits.x_test[:3]
    gaussian = distributions.Gaussian(torch.randn(3, 2), torch.randn(3, 2))
    bernoulli, z, rows = distributions.Bernoulli(torch.randn(3, 6)), torch.randn(3, 2), torch.rand(3, 3)
    recipe = pretrained.Recipe(lambda digits: mnist, pretrained.on_bits(pretrained.vae_loss), 1)
    path = checkpoints.save(folder / "net", net)
    tensors, figure = checkpoints.read(path)[0], figures.axes()[0]
    shown = dict(images=torch.rand(4, 6), n_columns=2, shape=(2, 3))
    sizes = dict(d_x=6, d_z=2, hidden=(4, 3), activation="tanh")
    seen = dict(model=net, x=x)
    with_y = dict(model=labelled, x=x, y=y)
    ours = {
        "distributions.Gaussian": dict(mu=z, log_var=z),
        "distributions.Gaussian.standard": {"*shape": (3, 2), "device": "cpu"},
        "distributions.Gaussian.log_prob": (gaussian.log_prob, dict(z=z)),
        "distributions.Gaussian.kl": (gaussian.kl, dict(other=gaussian)),
        "distributions.Gaussian.kl_per_dimension": (gaussian.kl_per_dimension, dict(other=gaussian)),
        "distributions.Bernoulli": dict(logits=z),
        "distributions.Bernoulli.log_prob": (bernoulli.log_prob, dict(x=x)),
        "vae.mlp": dict(d_in=2, hidden=(4,), d_out=3, activation="tanh"),
        "vae.VAE": dict(**sizes, d_y=3),
        "vae.VAE.encode": (labelled.encode, dict(x=x, y=y)),
        "vae.VAE.decode": (labelled.decode, dict(z=z, y=rows)),
        "vae.VAE.elbo": (labelled.elbo, dict(x=x, y=rows)),
        "vae.VAE.generate": (labelled.generate, dict(n=3, y=y)),
        "vae.Regressor": dict(d_x=6, d_y=3, hidden=(4,), activation="relu"),
        "vae.Regressor.predict": (regressor.predict, dict(y=rows)),
        "vae.Regressor.log_likelihood": (regressor.log_likelihood, dict(x=x, y=rows)),
        "m2.LabelledMLP": dict(d_a=3, n_classes=2, hidden=(4,), d_out=2, activation="tanh"),
        "m2.M2": dict(**sizes, n_classes=3, likelihood="bernoulli"),
        "m2.M2.log_q_y": (m.log_q_y, dict(x=x)),
        "m2.M2.encode": (m.encode, dict(x=x, y=y)),
        "m2.M2.decode": (m.decode, dict(z=z, y=y)),
        "m2.M2.labelled_bound": (m.labelled_bound, dict(x=x, y=y)),
        "m2.M2.unlabelled_bound": (m.unlabelled_bound, dict(x=x)),
        "m2.M2.classify": (m.classify, dict(x=x)),
        "m2.M2.generate": (m.generate, dict(n=3, y=y)),
        "m2.M2.analogies": (m.analogies, dict(x=x, y=y)),
        "m2.semi_supervised_loss": dict(model=m, x_l=x, y_l=y, x_u=x, n_labelled=3, n_unlabelled=9, alpha=0.1),
        "m2.M1M2": dict(m1=vae.VAE(6, 3, (4,)), m2=g, active=torch.tensor([True, False, True])),
        "m2.M1M2.from_config": stack.config,
        "m2.M1M2.features": (stack.features, dict(x=x)),
        "m2.M1M2.decode": (stack.decode, dict(z1=z)),
        "m2.M1M2.classify": (stack.classify, dict(x=x)),
        "m2.M1M2.generate": (stack.generate, dict(n=3, y=y)),
        "m2.M1M2.analogies": (stack.analogies, dict(x=x, y=y)),
        "evaluate.elbo": dict(**with_y, seed=0, batch_size=2),
        "evaluate.log_evidence": dict(**with_y, n_samples=5, seed=0, rows=10),
        "evaluate.iwae_bound": dict(**with_y, k=2),
        "evaluate.kl_per_dimension": dict(**with_y, batch_size=2),
        "evaluate.active_units": dict(**with_y, threshold=0.01, batch_size=2),
        "evaluate.classification_error": dict(model=m, x=x, y=y, batch_size=2),
        "evaluate.spread": dict(values=[1.0, 2.0]),
        "evaluate.seeded": (lambda **how: evaluate.seeded(**how).__enter__(), dict(seed=0, device="cpu")),
        "evaluate.reseed": dict(seed=0, device=torch.device("cpu")),
        "data.Digits": {f: getattr(few, f) for f in ("name", "x_train", "y_train", "x_test", "y_test", "shape")},
        "data.mnist": dict(name="MNIST", root=pretrained.PACKAGED, device="cpu"),
        "data.fingerprint": dict(digits=few),
        "data.binarize": dict(x=pixels),
        "data.batches": {"batch_size": 2, "*tensors": (x, y)},
        "splits.pixel_split": dict(name="left", shape=(2, 3)),
        "splits.label_split": dict(y=torch.arange(30) % 3, n_labelled=6, seed=0),
        "splits.hold_out": dict(digits=few, n=20),
        "train.History": dict(loss=[1.0], test=[1.0], seconds=[1.0], setting=""),
        "train.fit": {
            **dict(model=vae.VAE(6, 2, (4,)), loss=lambda x: -net.elbo(x).mean(), epochs=1, batch_size=2, lr=1e-3),
            **dict(schedule="cosine", seed=0, precision="fp32", test=lambda: 1.0, checkpoint=None, data=""),
            "faster": {"weight": 2.0},
            "*tensors": (x,),
        },
        "train.pick_device": dict(name="cpu"),
        "checkpoints.save": dict(path=folder / "saved", model=net, state=dict(z=z), dtype=torch.float16),
        "checkpoints.read": dict(path=path),
        "checkpoints.load": dict(path=path, device="cpu"),
        "checkpoints.fetch": dict(address=path.as_uri(), sha256=hashlib.sha256(path.read_bytes()).hexdigest()),
        "checkpoints.load_weights": dict(model=net, tensors=tensors, path=path),
        "pretrained.vae_loss": with_y,
        "pretrained.autoencoder_loss": seen,
        "pretrained.regressor_loss": dict(model=regressor, x=x, y=rows),
        "pretrained.seen": dict(model=m2.M2(d_z=2, hidden=(4,)), images=pixels),
        "pretrained.unlabelled_loss": dict(model=m2.M2(d_z=2, hidden=(4,)), images=pixels),
        "pretrained.split_bits": dict(images=pixels, given="left"),
        "pretrained.some_rows": dict(x_l=pixels, n=2),
        "pretrained.fit_semi_supervised": (
            lambda **how: pretrained.fit_semi_supervised(**how, epochs=1),
            dict(model=m2.M2(d_z=2, hidden=(4,)), digits=few, n_labelled=20, draw=0, alpha=0.1),
        ),
        "pretrained.Recipe": dict(make=abs, loss=abs, epochs=1, n_labelled=0, how={}),
        "pretrained.Recipe.train": (recipe.train, dict(digits=few, seed=0)),
        "pretrained.on_bits": dict(loss=abs, given="left"),
        "pretrained.completer": dict(given="left"),
        "pretrained.regressor": dict(given="left"),
        "pretrained.stack": dict(digits=few),
        "pretrained.pretrained": dict(name="m1-2d", digits=few),
        "pretrained.card": dict(name="m1-2d"),
        "pretrained.check_value": dict(name="m1-2d", model=mnist),
        "pretrained.mean_loss": dict(recipe=recipe, model=mnist, images=pixels),
        "records.stem": dict(row="M2", labels=100, draw=0),
        "records.write": dict(path=folder / "record.json", record=dict(a=1)),
        "records.runs": dict(row="M2", labels=100),
        "records.result": dict(row="M2", labels=100),
        "records.cell": dict(row="M2", labels=100),
        "figures.Picture": dict(svg="<svg></svg>", alt="nothing"),
        "figures.Table": dict(corner="", rows=dict(a=dict(b=1.0))),
        "figures.axes": dict(width=1.0, height=1.0, n_columns=1, n_rows=1),
        "figures.picture": dict(figure=figure, alt="axes"),
        "figures.digit_grid": dict(**shown, alt="noise", size=0.2),
        "figures.show_digits": dict(ax=figure.axes[0], **shown, extent=None),
        "figures.latent_scatter": dict(ax=figure.axes[0], z=z, labels=y, limit=2.0),
        "figures.curves": dict(x=[1.0, 2.0], lines=dict(a=[1.0, 2.0]), xlabel="x", ylabel="y", alt="a line"),
        "diagrams.graph": dict(source="digraph { a }", alt="a node"),
        "explorer.LatentExplorer": dict(model=mnist, digits=few, live=None),
        "explorer.DigitExplorer": dict(model=mnist, digits=few, live=None),
        "explorer.ClassesExplorer": dict(model=m2.M2(d_z=2, hidden=(4,)), digits=few, live=None),
        "explorer.AnalogiesExplorer": dict(model=m2.M2(d_z=2, hidden=(4,)), digits=few, live=None),
        "explorer.CompletionExplorer": dict(
            **dict(models=dict(left=vae.VAE(392, 2, (4,), 392)), digits=few),
            **dict(regressors=dict(left=vae.Regressor(392, 392, (4,))), live=None),
        ),
        "explorer.GapExplorer": dict(z=GRID, log_joint=log_normal(GRID) + log_normal(GRID, 2.0, 0.5), live=None),
    }
    things = public()
    return {name: call if isinstance(call, tuple) else (things.get(name), call) for name, call in ours.items()}
