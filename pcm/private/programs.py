"""Private noise in a program: a site for the noisy answer, and programs to which releases add one.

``observe("reported", smoker, mechanism)`` is a plain ``pyro.sample`` of the mechanism's exact law given the true value.
Where data hold a release under the name of the *true* variable, the program gets such a site by itself, named
``smoker_released``: the release is evidence about a noisy child, and ``do`` acts on the true variable.

>>> import pcm, pyro, pyro.distributions as dist
>>> from pcm import private
>>> rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
>>> def survey():
...     smoker = pyro.sample("smoker", dist.Bernoulli(0.3))
...     private.observe("reported", smoker, rr)
>>> pcm.SCM(survey)
SCM(survey: smoker → reported)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pyro
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pcm.couplings import Reported
from pcm.errors import ArgumentError, EvidenceError, UnknownNameError
from pcm.private.mechanism import Mechanism
from pcm.program import Program
from pcm.query.model import Model

__all__ = ["SUFFIX", "admit", "observe", "released"]

#: What the noisy child of a true variable is called.
SUFFIX = "_released"


def observe(name: str, value: Tensor, mechanism: Mechanism) -> Tensor:
    """A sample statement: what the mechanism answers about ``value``.

    Parameters
    ----------
    name : str
        Of the noisy site.
    value : Tensor
        The true value, as the program has it.
    mechanism : Mechanism

    Returns
    -------
    Tensor
        The answer (codes of a finite mechanism). Programs seldom read it: causes act on the true value.

    Examples
    --------
    >>> import torch
    >>> from pcm import private
    >>> noisy = observe("noisy", torch.zeros(5), private.Laplace(scale=1.0, bounds=(0, 1)))
    >>> noisy.shape
    torch.Size([5])
    """
    if not isinstance(mechanism, Mechanism):
        raise ArgumentError(f"observe('{name}', value, mechanism): {mechanism!r} is no mechanism of pcm.private.")
    return pyro.sample(name, mechanism.site(value))


def released(program: Callable[..., Any], mechanisms: Mapping[str, Mechanism]) -> Callable[..., Any]:
    """The program with a noisy child of each of these variables, named ``variable_released``.

    What ``fit`` and ``counterfactual`` do by themselves with a release of a true variable; needed by hand to load a
    model that was saved after such a fit.

    Parameters
    ----------
    program : callable
    mechanisms : mapping of variable to mechanism

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> from pcm import private
    >>> def survey():
    ...     smoker = pyro.sample("smoker", dist.Bernoulli(0.3))
    ...     pyro.sample("weight", dist.Normal(70.0 + 3.0 * smoker, 10.0))
    >>> rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
    >>> pcm.SCM(private.released(survey, {"smoker": rr})).variables
    ('smoker', 'smoker_released', 'weight')
    """
    if not callable(program) or not isinstance(mechanisms, Mapping):
        raise ArgumentError(f"released(program, mechanisms): a program and a dict; found {program!r}, {mechanisms!r}.")
    for name, mechanism in mechanisms.items():
        if not isinstance(mechanism, Mechanism):
            raise ArgumentError(f"released(program, {{'{name}': …}}): {mechanism!r} is no mechanism of pcm.private.")
    chosen = dict(mechanisms)
    target = program.forward if isinstance(program, nn.Module) else program

    def noised(*args: Any, **kwargs: Any) -> Any:
        with _Noising(chosen):
            return program(*args, **kwargs)

    # the user's own function by name, module and signature: it is read, copied and shown as such
    functools.update_wrapper(noised, target)
    noised.__signature__ = inspect.signature(target)  # pyright: ignore[reportFunctionMemberAccess]
    noised.__name__ = getattr(program, "__name__", type(program).__name__)
    return noised


class _Noising(Messenger):
    """After a named site, a noisy child of its value, under the same plates."""

    def __init__(self, mechanisms: Mapping[str, Mechanism]) -> None:
        super().__init__()
        self.mechanisms, self.met = mechanisms, {}

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> Any:
        unmet = [name for name in self.mechanisms if name not in self.met]
        if kind is None and unmet:
            raise UnknownNameError(unmet[0], known=list(self.met))
        return super().__exit__(kind, value, traceback)

    def _pyro_post_sample(self, msg: Any) -> None:
        mechanism = self.mechanisms.get(msg["name"])
        self.met[msg["name"]] = None
        if mechanism is not None:
            observe(msg["name"] + SUFFIX, msg["value"], mechanism)


def admit(model: Model, data: Any) -> tuple[Model, Any]:
    """A model and data in which every release stands under a noisy site: of a true variable's, a child is added.

    Raises
    ------
    EvidenceError
        A release under a name that the program lacks, or of a variable with several values a unit.
    """
    if not isinstance(data, Mapping) or not any(isinstance(value, Reported) for value in data.values()):
        return model, data
    sites, added, columns = model.structure.sites, {}, dict(data)
    for name, value in data.items():
        if not isinstance(value, Reported) or value.mechanism is None or not value.evidence:
            continue
        if name not in sites:
            raise UnknownNameError(name, known=list(sites))
        if sites[name].mechanism is not None:
            continue
        site, child = sites[name], name + SUFFIX
        if site.kind != "variable" or not site.scalar:
            raise EvidenceError(
                f"'{name}' was released, but it is a {site.kind} of the program"
                + ("" if site.scalar else " with several values a unit")
                + ": only a variable with a distribution and one value a unit can be inferred from its noisy answer.",
                column=name,
            )
        _check_codes(model, name, value.mechanism)
        if child in data:
            raise EvidenceError(f"the data have both '{name}' and '{child}'; keep one of them.", column=name)
        if child not in sites:
            added[name] = value.mechanism
        columns[child] = columns.pop(name)
    if added:
        model = _extended(model, added)
    return model, columns


def _check_codes(model: Model, name: str, mechanism: Any) -> None:
    """Refuse categories that are not the variable's own, in its order."""
    inputs, labels = getattr(mechanism, "inputs", None), model.categories.get(name)
    count = model.structure.sites[name].cardinality
    if inputs is None:
        return
    if labels is None and count in (None, len(inputs)) and tuple(inputs) != tuple(range(len(inputs))):
        raise EvidenceError(
            f"'{name}' has no labels, and its release came through a mechanism with the inputs {tuple(inputs)}. Say "
            f"which code is which: pcm.SCM(program, categories={{'{name}': {list(inputs)}}}).",
            column=name,
        )
    if (labels is not None and tuple(inputs) != tuple(labels)) or (count is not None and count != len(inputs)):
        found = f"the categories {tuple(labels)}" if labels is not None else f"{count} values"
        raise EvidenceError(
            f"'{name}' has {found}, and its release came through a mechanism with the inputs {tuple(inputs)}: they "
            "must be the same, in the same order.",
            column=name,
        )


def _extended(model: Model, added: Mapping[str, Mechanism]) -> Model:
    old = model.program
    labels = dict(model.categories)
    for name, mechanism in added.items():
        if name in labels and hasattr(mechanism, "outputs"):
            labels[name + SUFFIX] = tuple(mechanism.outputs)  # pyright: ignore[reportAttributeAccessIssue]
    made = Program(released(old.source, added), dtype=old.dtype, couplings=old.couplings, categories=labels)
    made.params = {name: (leaf.detach().clone(), constraint) for name, (leaf, constraint) in old.params.items()}
    for name, net in made.modules.items():
        net.load_state_dict(old.modules[name].state_dict())
    return replace(model, program=made, categories=labels)
