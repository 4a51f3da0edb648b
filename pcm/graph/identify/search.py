"""`identify`: whether the observed law tells what an intervention does, by which formula, or what stands in the way.

>>> import networkx as nx
>>> smoking = nx.DiGraph([("gene", "smoking"), ("gene", "cancer"), ("smoking", "tar"), ("tar", "cancer")])
>>> identify(smoking, "smoking", "cancer", latent=["gene"])
Identification: the effect of smoking on cancer is identified by the front-door through tar.
  P(cancer | do(smoking)) = Σ_tar P(tar | smoking) Σ_smoking′ P(cancer | smoking′, tar) P(smoking′)
  assuming: the graph lacks no arrow and no common cause
            every value of tar happens with every value of smoking; smoking leaves none of its values out
>>> identify(smoking, "smoking", "tar", latent=["gene"]).strategy
'none needed'
>>> identify(nx.DiGraph([("x", "y")]), "x", "y", confounded=[("x", "y")])
Identification: the effect of x on y is not identified.
  hedge: the c-forests {x, y} and {y} with roots {y}
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import Any, NamedTuple

import networkx as nx

from pcm.arguments import no_model
from pcm.errors import ArgumentError, GraphError, UnknownNameError, listed
from pcm.graph.identify.algorithm import Hedge, HedgeFound, conditional_effect, effect
from pcm.graph.identify.criteria import front_door, instrument
from pcm.graph.identify.expression import CovarianceRatio, Probability, Sum, product, total
from pcm.graph.identify.identification import Identification
from pcm.graph.identify.mixed import project
from pcm.graph.paths import descendants, minimal_adjustment

__all__ = ["identify"]

_GRAPH = "the graph lacks no arrow and no common cause"
_CONDITIONS = "every condition above has a positive probability"


class _Asked(NamedTuple):
    treatment: tuple[Any, ...]
    outcome: tuple[Any, ...]
    conditional: tuple[Any, ...]


def identify(
    graph: Any,
    treatment: Any,
    outcome: Any,
    *,
    latent: Iterable[Hashable] = (),
    confounded: Iterable[tuple[Hashable, Hashable]] = (),
    conditional: Any = (),
) -> Identification:
    """Whether the observed law tells the effect of ``treatment`` on ``outcome``, and by which formula.

    The first that applies of: nothing to adjust for, back door, front door, general identification (complete for
    graphs with latent variables). Where the effect is not identified there is a hedge, which proves it, and an
    instrument if there is one, which would do in a linear model.

    Parameters
    ----------
    graph : networkx.DiGraph
        Or anything that has one as its attribute ``graph``, such as an :class:`pcm.SCM`.
    treatment, outcome : name or collection of names
    latent : collection of names
        Nodes of the graph that are not observed.
    confounded : collection of pairs
        Variables with a common cause that is not in the graph.
    conditional : name or collection of names
        Ask for ``P(outcome | do(treatment), conditional)``.

    Raises
    ------
    GraphError
        The graph has a cycle.
    UnknownNameError
        A name that is not in the graph.
    ArgumentError
        Treatment, outcome and conditional overlap, one of them is latent or empty, or a pair is none.

    References
    ----------
    Pearl, *Causality* (2nd ed., 2009), chapter 3. Tian & Pearl, AAAI 2002. Shpitser & Pearl, AAAI 2006 and UAI 2006.

    Examples
    --------
    >>> import networkx as nx
    >>> clinic = nx.DiGraph([("age", "plan"), ("age", "readmit"), ("plan", "readmit")])
    >>> print(identify(clinic, "plan", "readmit").estimand)
    P(readmit | do(plan)) = Σ_age P(readmit | plan, age) P(age)
    >>> identify(clinic, "plan", "readmit", latent=["age"]).identified
    False
    """
    full, hidden, asked = _read(graph, treatment, outcome, latent, confounded, conditional)
    t, y, c = asked
    observed = [node for node in full if node not in hidden]
    found = _adjusted(full, observed, asked)
    if found is None and len(t) == len(y) == 1 and not c:
        found = _front_door(full, observed, asked)
    if found is not None:
        return found
    mixed = project(full, hidden)
    try:
        expression = conditional_effect(mixed, t, y, c) if c else effect(mixed, t, y)
    except HedgeFound as reached:
        return _instrumental(full, observed, asked, reached.hedge)
    return Identification(
        *asked, identified=True, strategy="ID", expression=expression, assumptions=(_GRAPH, _CONDITIONS)
    )


def _read(
    graph: Any, treatment: Any, outcome: Any, latent: Any, confounded: Any, conditional: Any
) -> tuple[nx.DiGraph, set[Any], _Asked]:
    """The graph with a node for every confounder, the unobserved nodes, and what is asked, in the graph's order."""
    dag = graph if isinstance(graph, nx.Graph) else getattr(graph, "graph", graph)
    if isinstance(dag, nx.Graph) and (not dag.is_directed() or dag.is_multigraph()):
        raise ArgumentError(f"a networkx.DiGraph is needed, an arrow from each cause; found a {type(dag).__name__}.")
    if not isinstance(dag, nx.DiGraph):
        raise no_model(graph, "a pcm.SCM or a DiGraph")
    if not nx.is_directed_acyclic_graph(dag):
        cycle = [edge[0] for edge in nx.find_cycle(dag)]
        words = " → ".join(map(str, [*cycle, cycle[0]]))
        raise GraphError(f"the edges close a cycle: {words}; a causal graph has none.", cycle=[*cycle, cycle[0]])
    roles = {
        "treatment": _listing(dag, treatment),
        "outcome": _listing(dag, outcome),
        "conditional": _listing(dag, conditional),
        "latent": _listing(dag, latent),
    }
    for role, names in roles.items():
        for name in names:
            if name not in dag:
                raise UnknownNameError(name, kind="variable", known=list(dag), where="the graph")
        if not names and role in ("treatment", "outcome"):
            raise ArgumentError(f"the {role} is empty; name at least one variable of the graph: {listed(dag)}.")
    taken: dict[Any, str] = {}
    for role, names in roles.items():
        for name in dict.fromkeys(names):
            if name in taken:
                raise ArgumentError(f"'{name}' is both {taken[name]} and {role}; it can be one of them.", name=name)
            taken[name] = role
    full = nx.DiGraph()
    full.add_nodes_from(dag)
    full.add_edges_from(dag.edges)
    hidden = set(roles["latent"])
    if isinstance(confounded, str) or not isinstance(confounded, Iterable):
        raise ArgumentError(f"confounded={confounded!r}: a list of pairs of variables is needed.")
    for pair in confounded:
        pair = tuple(pair) if isinstance(pair, Iterable) and not isinstance(pair, str) else (pair,)
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ArgumentError(f"confounded= takes pairs of two variables; found {pair}.", pair=pair)
        for name in pair:
            if name not in dag:
                raise UnknownNameError(name, kind="variable", known=list(dag), where="the graph")
        cause = ("confounder of", *pair)
        hidden.add(cause)
        full.add_edges_from((cause, name) for name in pair)
    t, y, c = (tuple(name for name in dag if name in set(roles[r])) for r in ("treatment", "outcome", "conditional"))
    return full, hidden, _Asked(t, y, c)


def _listing(graph: nx.DiGraph, names: Any) -> list[Any]:
    """One name or several, as a list; a hashable that is a node is one name."""
    try:
        if isinstance(names, str) or names in graph:
            return [names]
    except TypeError:  # unhashable, so a collection
        pass
    if not isinstance(names, Iterable):
        return [names]
    return list(names)


def _adjusted(full: nx.DiGraph, observed: list[Any], asked: _Asked) -> Identification | None:
    """No effect at all, nothing to adjust for, or a back door."""
    t, y, c = asked
    below = descendants(full, t)
    if not c and not below & set(y):
        words = (_GRAPH, f"no directed path leads from {listed(t)} to {listed(y)}: there is no effect")
        return Identification(
            t,
            y,
            c,
            identified=True,
            strategy="none needed",
            adjustment=frozenset(),
            expression=Probability(y),
            assumptions=words,
        )
    if c:
        return None if below & set(c) else _adjusted_within(full, observed, asked)
    found = minimal_adjustment(full, t, y, observed=[name for name in observed if name not in below])
    if found is None:  # of several treatments one may lie between another and what must be adjusted for
        found = minimal_adjustment(full, t, y, observed=observed)
    return None if found is None else _adjusting(full, asked, found)


def _adjusted_within(full: nx.DiGraph, observed: list[Any], asked: _Asked) -> Identification | None:
    """A back door that contains what is conditioned on, none of it below the treatment."""
    t, y, c = asked
    behind = nx.restricted_view(full, (), list(full.out_edges(t)))
    allowed = set(observed) - descendants(full, t) - set(t) - set(y)
    if not set(c) <= allowed or set(y) & set(c):
        return None
    found = nx.find_minimal_d_separator(behind, set(t), set(y), included=set(c), restricted=allowed)
    return None if found is None else _adjusting(full, asked, set(found) - set(c))


def _adjusting(full: nx.DiGraph, asked: _Asked, found: Collection[Any]) -> Identification:
    t, y, c = asked
    names = tuple(name for name in full if name in found)
    within = Probability(y, (*t, *names, *c))
    assumptions: tuple[str, ...] = (_GRAPH, f"every value of {listed((*t, *c))} happens")
    if not names:
        return Identification(*asked, True, "none needed", frozenset(), expression=within, assumptions=assumptions)
    adjusted = total(names, product([within, Probability(names, c)]))
    positivity = f"every value of {listed(t)} happens with every value of {listed((*names, *c))} (positivity)"
    return Identification(
        *asked, True, "back-door", frozenset(names), expression=adjusted, assumptions=(_GRAPH, positivity)
    )


def _front_door(full: nx.DiGraph, observed: list[Any], asked: _Asked) -> Identification | None:
    t, y, _ = asked
    found = front_door(full, t[0], y[0], observed)
    if found is None:
        return None
    inner = Sum(t, product([Probability(y, (*t, *found)), Probability(t)]))
    expression = total(found, product([Probability(found, t), inner]))
    positivity = (
        f"every value of {listed(found)} happens with every value of {t[0]}; {t[0]} leaves none of its values out"
    )
    return Identification(
        *asked,
        True,
        "front-door",
        mediators=frozenset(found),
        expression=expression,
        assumptions=(_GRAPH, positivity),
    )


def _instrumental(full: nx.DiGraph, observed: list[Any], asked: _Asked, hedge: Hedge) -> Identification:
    """Not identified; with an instrument, the slope of a linear model is."""
    t, y, c = asked
    found = instrument(full, t[0], y[0], observed) if len(t) == len(y) == 1 and not c else None
    if found is None:
        return Identification(*asked, False, None, witness=hedge)
    name, given = found
    words = (
        "every mechanism is linear, and the effect the same for every unit",
        _GRAPH,
        f"{name} moves {t[0]} (relevance), and {y[0]} through {t[0]} alone",
    )
    return Identification(
        *asked,
        False,
        "instrument (linear)",
        adjustment=frozenset(given) if given else None,
        instrument=name,
        expression=CovarianceRatio(name, t[0], y[0], given),
        witness=hedge,
        assumptions=words,
    )
