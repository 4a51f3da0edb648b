"""What a program expects of one column of data.

>>> element_names(Column("position", event_shape=(2,)))
['position[0]', 'position[1]']
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch

from pcm.errors import ArgumentError

__all__ = ["Column", "element_names"]


@dataclass(frozen=True)
class Column:
    """What a program expects of one variable or covariate.

    Parameters
    ----------
    name : str
        Name of the site or covariate, and of the column.
    event_shape : tuple of int
        Event dims; they follow the unit dim.
    discrete : bool
        Whether its values are whole numbers; :func:`write_frame` then writes integers.
    categories : tuple, optional
        Labels; the label at position ``k`` has code ``k``.
    dtype : torch.dtype
        What the tensor is cast to.

    Raises
    ------
    ArgumentError
        If a category is listed twice.

    Examples
    --------
    >>> Column("plan", discrete=True, categories=("none", "basic"), dtype=torch.long).categories
    ('none', 'basic')
    """

    name: str
    event_shape: tuple[int, ...] = ()
    discrete: bool = False
    categories: tuple | None = None
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        if self.categories is not None and len(set(self.categories)) < len(self.categories):
            twice = next(c for c in self.categories if self.categories.count(c) > 1)
            raise ArgumentError(f"the categories of '{self.name}' list {twice!r} twice; list each label once.")


def element_names(column: Column) -> list[str]:
    """Names of the frame's columns that hold one site: ``name``, or ``name[0]``, ``name[1]``, …, or ``name[0,1]``."""
    if not column.event_shape:
        return [column.name]
    return [f"{column.name}[{','.join(map(str, at))}]" for at in product(*map(range, column.event_shape))]
