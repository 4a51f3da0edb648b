"""Families of predictors: one protocol, one family a file.

>>> family("trees")
Trees(folds=10, max_iter=300, learning_rate=0.05, max_leaf_nodes=12)
"""

from __future__ import annotations

from pcm.errors import UnknownNameError
from pcm.predict.families.family import ATOMS as ATOMS
from pcm.predict.families.family import Family as Family
from pcm.predict.families.family import Fitted as Fitted
from pcm.predict.families.family import Members as Members
from pcm.predict.families.family import members_of as members_of
from pcm.predict.families.gaussian_process import GaussianProcess as GaussianProcess
from pcm.predict.families.linear import Linear as Linear
from pcm.predict.families.network import Network as Network
from pcm.predict.families.trees import Trees as Trees

__all__ = [
    "ATOMS",
    "FAMILIES",
    "Family",
    "Fitted",
    "GaussianProcess",
    "Linear",
    "Members",
    "Network",
    "Trees",
    "family",
    "members_of",
]

#: By the names that users write.
FAMILIES: dict[str, type[Family]] = {each.name: each for each in (Linear, GaussianProcess, Network, Trees)}


def family(given: str | Family) -> Family:
    """The family of that name with its default settings; a family comes back as it is.

    Raises
    ------
    UnknownNameError
        No family has that name.
    """
    if isinstance(given, Family):
        return given
    if not isinstance(given, str) or given not in FAMILIES:
        raise UnknownNameError(given, kind="family", known=[*FAMILIES, "mechanism"], where="predictors")
    return FAMILIES[given]()
