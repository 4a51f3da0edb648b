"""ArviZ trees: named dims in, something that ArviZ reads out.

One ``xarray.DataTree`` is built; ArviZ 0.x is handed an ``InferenceData`` made of it, ArviZ 1.x reads the tree itself.

>>> import numpy as np
>>> tree = data_tree({"posterior": {"slope": (("chain", "draw"), np.zeros((1, 5)))}})
>>> dict(tree["posterior"].sizes)
{'chain': 1, 'draw': 5}
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pcm.errors import MissingExtraError

__all__ = ["data_tree", "free_dims", "to_arviz"]


def data_tree(
    groups: Mapping[str, Mapping[str, tuple[tuple[str, ...], np.ndarray]]],
    *,
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
):
    """An ``xarray.DataTree`` of named arrays.

    Parameters
    ----------
    groups
        ``{group: {name: (dims, array)}}``; groups without an array are left out. A ``/`` in a name, which a tree takes
        for a path, becomes ``|``.
    coords
        Labels of axes; axes without get 0, 1, …
    attrs
        Attributes of every group.

    Returns
    -------
    xarray.DataTree
    """
    import xarray

    coords = dict(coords or {})
    datasets = {}
    for group, arrays in groups.items():
        if not arrays:
            continue
        variables = {name.replace("/", "|"): (dims, array) for name, (dims, array) in arrays.items()}
        sizes = {dim: size for dims, array in variables.values() for dim, size in zip(dims, array.shape, strict=True)}
        labels = {dim: coords.get(dim, np.arange(size)) for dim, size in sizes.items()}
        datasets[f"/{group}"] = xarray.Dataset(variables, coords=labels, attrs=dict(attrs or {}))
    return xarray.DataTree.from_dict(datasets)


def free_dims(
    arrays: Mapping[str, tuple[int, ...]], named: Mapping[str, Iterable[str]], taken: Iterable[str] = ("chain", "draw")
) -> dict[str, tuple[str, ...]]:
    """A name for every axis of every array, the given one where it can stand.

    A name cannot stand if it is taken, is the name of an array, or already means another length; the axis is then
    called ``<array>_dim_<i>``, ArviZ's own habit.

    Parameters
    ----------
    arrays
        Shapes by name.
    named
        Names of axes by array; may be incomplete.

    Returns
    -------
    dict
        ``{array: names of its axes}``.
    """
    lengths: dict[str, int] = {}
    dims = {}
    for name, shape in arrays.items():
        wanted = tuple(named.get(name, ()))
        wanted = wanted if len(wanted) == len(shape) and len(set(wanted)) == len(wanted) else ()
        axes = []
        for index, length in enumerate(shape):
            axis = wanted[index] if wanted else f"{name}_dim_{index}"
            if axis in taken or axis in arrays or lengths.get(axis, length) != length:
                axis = f"{name}_dim_{index}"
            lengths[axis] = length
            axes.append(axis.replace("/", "|"))
        dims[name] = tuple(axes)
    return dims


def to_arviz(tree):
    """What the installed ArviZ reads: ``InferenceData`` before 1.0, the tree itself since.

    Raises
    ------
    MissingExtraError
        If ArviZ is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message=r"(?s).*ArviZ is undergoing.*")
            import arviz
    except ImportError:
        raise MissingExtraError("arviz", "plots", "An ArviZ view of the results") from None
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData.from_datatree(tree)
    return tree
