"""A fitted model on disk: its tensors and what they belong to.

>>> from pcm.query.saved import load_model, save_model
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from pcm.errors import ArgumentError, PCMError, StoreError
from pcm.infer import Posterior
from pcm.io.store import read, write
from pcm.program import Program
from pcm.query.model import Model, check_categories
from pcm.worlds import Constant, Intervention, Target

__all__ = ["load_model", "save_model"]


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model; only constant interventions can be kept in a file."""
    tensors = {f"trainable/{name}": leaf.detach() for name, leaf in model.program.trainable.items()}
    tensors.update({f"given/{name}": value for name, value in model.given.items()})
    for target, action in model.interventions.items():
        if not isinstance(action, Constant) or isinstance(target, tuple):
            raise ArgumentError(
                f"the intervention on {target!r} cannot be saved (only constants on variables can): save the model "
                "without it and intervene after loading."
            )
        tensors[f"do/{target}"] = action.value
    meta: dict[str, Any] = {
        "program": model.program.name,
        "signature": _signature(model.program),
        "dtype": str(model.program.dtype).removeprefix("torch."),
        "couplings": model.program.couplings,
        "categories": {name: list(labels) for name, labels in model.categories.items()},
        "posterior": None,
    }
    if model.posterior is not None:
        tensors.update({f"posterior/{name}": value for name, value in model.posterior.draws.items()})
        meta["posterior"] = {
            "method": model.posterior.method,
            "chains": model.posterior.chains,
            "diagnostics": dict(model.posterior.diagnostics),
        }
    write(path, tensors, meta)


def load_model(path: str | os.PathLike[str], program: Callable[..., Any]) -> Model:
    """Read a model written by :func:`save_model`, checked against its program."""
    tensors, meta = read(path)
    try:
        labels = {name: tuple(values) for name, values in meta["categories"].items()}
        dtype = {"float64": torch.float64, "float32": torch.float32}[meta["dtype"]]
        signature, stored = meta["signature"], meta["posterior"]
        couplings = meta["couplings"]
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is no saved model: its description lacks {error}.", path=str(path)) from error
    try:
        made = Program(program, dtype=dtype, couplings=couplings, categories=labels)
        check_categories(labels, made)
    except PCMError as error:
        raise StoreError(f"{path} was saved from another program than {program!r}: {error}", path=str(path)) from error
    found = _signature(made)
    if found != signature:
        apart = sorted(name for name in {*found, *signature} if found.get(name) != signature.get(name))
        raise StoreError(
            f"{path} was saved from a program that differs in {', '.join(apart)}; load it with its own program.",
            path=str(path),
        )
    parts: dict[str, dict[str, torch.Tensor]] = {"trainable": {}, "given": {}, "do": {}, "posterior": {}}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        parts[kind][name] = value
    if parts["trainable"]:
        made = made.copy()
        with torch.no_grad():
            for name, leaf in made.trainable.items():
                leaf.copy_(parts["trainable"][name])
    posterior = None
    if stored is not None:
        posterior = Posterior(
            parts["posterior"], stored["method"], chains=stored["chains"], diagnostics=stored["diagnostics"]
        )
    actions: dict[Target, Intervention] = {name: Constant(value) for name, value in parts["do"].items()}
    return Model(made, actions, posterior, parts["given"], labels)


def _signature(program: Program) -> dict[str, list[Any]]:
    """What must agree between the saved program and the one it is loaded with."""
    sites = {**program.structure.sites, **program.structure.parameters}
    found: dict[str, list[Any]] = {
        name: [site.kind, site.family, list(site.inner), list(site.event)] for name, site in sites.items()
    }
    for name, site in sites.items():
        if site.mechanism is not None:  # a posterior given releases is one given their noise
            found[name].append(repr(site.mechanism))
    found.update({name: ["trainable", "", [], list(leaf.shape)] for name, leaf in program.trainable.items()})
    return found
