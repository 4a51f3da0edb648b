"""The zoo: published causal models, one a file, each with what is known to be true of it.

A zoo file ``models/NAME.py`` opens with a docstring (first line: what the model is; reference below) and exposes

``program``
    the Pyro program;
``truth``
    a mapping from a question to its known answer: value, standard error, source;
``load``
    where there is data: a function without arguments that returns the frame.

>>> all(line for line in list_models().values())
True
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

from pcm.errors import UnknownNameError

__all__ = ["list_models", "load_model", "names"]

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of the models, sorted.

    Examples
    --------
    >>> names() == sorted(names())
    True
    """
    return sorted(path.stem for path in _FOLDER.glob("*.py") if not path.stem.startswith("_"))


def list_models() -> dict[str, str]:
    """Each model's name with the first line of its docstring; nothing is imported.

    Examples
    --------
    >>> list(list_models()) == names()
    True
    """
    return {name: _first_line(_FOLDER / f"{name}.py") for name in names()}


def load_model(name: str) -> ModuleType:
    """Import a model.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    module
        With ``program``, ``truth`` and, where there is data, ``load()``.

    Raises
    ------
    UnknownNameError
        If there is no such model.

    Examples
    --------
    >>> load_model("nowhere")
    Traceback (most recent call last):
    pcm.errors.UnknownNameError: 'nowhere' is not a model of the zoo; models: ...
    """
    if name not in names():
        raise UnknownNameError(name, kind="model", known=names(), where="the zoo")
    return importlib.import_module(f"pcm_models.{name}")


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
