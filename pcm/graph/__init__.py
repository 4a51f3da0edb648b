"""The causal graph: what it says (paths, separation, adjustment) and how it is drawn. networkx only."""

from __future__ import annotations

from pcm.graph.causal_graph import CausalGraph as CausalGraph
from pcm.graph.layout import Layout as Layout
from pcm.graph.layout import layered as layered
from pcm.graph.paths import ancestors as ancestors
from pcm.graph.paths import as_path as as_path
from pcm.graph.paths import backdoor_sets as backdoor_sets
from pcm.graph.paths import d_separated as d_separated
from pcm.graph.paths import descendants as descendants
from pcm.graph.paths import directed_paths as directed_paths
from pcm.graph.paths import is_adjustment as is_adjustment
from pcm.graph.paths import is_backdoor_adjustment as is_backdoor_adjustment
from pcm.graph.paths import minimal_adjustment as minimal_adjustment
from pcm.graph.paths import parents as parents
from pcm.graph.svg import SVG as SVG
from pcm.graph.trails import open_trail as open_trail

__all__ = [
    "SVG",
    "CausalGraph",
    "Layout",
    "ancestors",
    "as_path",
    "backdoor_sets",
    "d_separated",
    "descendants",
    "directed_paths",
    "is_adjustment",
    "is_backdoor_adjustment",
    "layered",
    "minimal_adjustment",
    "open_trail",
    "parents",
]
