"""What a release promises about a private variable: three claims, never mixed.

1. *Unconditional.* Each mechanism is private for its own input; costs compose, and only they are counted by a ledger.
   A raw column costs ∞. Causal structure never lowers this.
2. *Graph-conditional* (Pufferfish). If what is released raw is d-separated from the private ``A`` given what the
   adversary knows, ``P(release | a, k) ≤ e^{ε_C} P(release | a', k)`` for every law Markov to the graph, ``ε_C`` being
   the cost of the releases that are not: :mod:`pcm.private.separation`. Per unit, given the parameters.
3. *Model-conditional.* The smallest ε under the model itself: :mod:`pcm.private.model_leak`. Never a guarantee.

>>> import pyro, pyro.distributions as dist, pcm
>>> from pcm import private
>>> def survey():
...     smoker = pyro.sample("smoker", dist.Bernoulli(0.3))
...     site = pyro.sample("site", dist.Bernoulli(0.5))
...     pyro.sample("cough", dist.Bernoulli(0.1 + 0.6 * smoker + 0.1 * site))
>>> response = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
>>> private.claims(pcm.SCM(survey), {"site": "raw", "cough": response}, private="smoker")
Claims about a unit's smoker, released: site raw, cough (RandomizedResponse)
  unconditional: ε = ∞, site raw: ∞; cough: 1
  graph-conditional: ε = 1, cough (cough ← smoker) costs 1; site says nothing of smoker
  model-conditional: ε = 0.6312, smoker = 1 against smoker = 0; interventional 0.6312

References
----------
Kifer & Machanavajjhala, "Pufferfish", ACM TODS 2014. Tschantz, Sen & Datta, "SoK: differential privacy as a causal
property", S&P 2020.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from pcm.arguments import check_count, check_seed
from pcm.errors import ArgumentError, ClaimError, QueryError, UnknownNameError, listed
from pcm.graph import descendants
from pcm.private.checks import check_delta
from pcm.private.claim import Claim
from pcm.private.kernels import composed, cost_words
from pcm.private.mechanism import Mechanism
from pcm.private.model_leak import model_leak
from pcm.private.separation import check_graph, open_trails, openers
from pcm.query.model import model_of

__all__ = ["Claims", "claims", "read_names", "read_releases"]

RAW = "raw"


class Claims:
    """The three claims about one release; made by :func:`claims`.

    Attributes
    ----------
    unconditional, graph_conditional, model_conditional : Claim
    private, adversary : tuple of str
    releases : dict of name to tuple of mechanisms
        An empty tuple is a raw release.
    """

    def __init__(
        self,
        unconditional: Claim,
        graph_conditional: Claim,
        model_conditional: Claim,
        *,
        private: tuple[str, ...],
        adversary: tuple[str, ...],
        releases: Mapping[str, tuple[Any, ...]],
    ) -> None:
        self.unconditional, self.graph_conditional = unconditional, graph_conditional
        self.model_conditional, self.private, self.adversary = model_conditional, private, adversary
        self.releases = dict(releases)

    def __iter__(self) -> Any:
        return iter((self.unconditional, self.graph_conditional, self.model_conditional))

    def to_dataframe(self) -> pd.DataFrame:
        """A row a claim: kind, ε with its interval, δ, whether it is a guarantee, finding, refusal, assumptions."""
        return pd.DataFrame([claim.as_row() for claim in self])

    @property
    def assumptions(self) -> dict[str, tuple[str, ...]]:
        """What each claim rests on, in words."""
        return {claim.kind: claim.assumptions for claim in self}

    def _title(self) -> str:
        released = ", ".join(
            f"{name} raw" if not made else f"{name} ({', '.join(type(m).__name__ for m in made)})"
            for name, made in self.releases.items()
        )
        knows = f"; the adversary knows {listed(self.adversary)}" if self.adversary else ""
        return f"Claims about a unit's {listed(self.private)}, released: {released}{knows}"

    def __repr__(self) -> str:
        return "\n".join([self._title(), *(f"  {claim!r}" for claim in self)])

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><th {left}>{claim.kind}</th><td {left}>{html.escape(claim.words())}</td><td {left}><ul>"
            + "".join(f"<li>{html.escape(text)}</li>" for text in claim.assumptions)
            + "</ul></td></tr>"
            for claim in self
        )
        head = f"<tr><th></th><th {left}>claim</th><th {left}>rests on</th></tr>"
        return f"<p>{html.escape(self._title())}</p><table>{head}{rows}</table>"


def claims(
    scm: Any,
    releases: Mapping[str, Any],
    *,
    private: str | Iterable[str],
    adversary: str | Iterable[str] = (),
    graph: nx.DiGraph | None = None,
    delta: float = 0.0,
    draws: int = 100,
    seed: int | None = None,
) -> Claims:
    """What releasing these columns promises about a private variable of each unit.

    Parameters
    ----------
    scm : SCM
        Fitted or not; for the graph-conditional claim alone its graph matters.
    releases : dict of variable to mechanism, ``"raw"``, or a ``Release``
        Everything of a unit that is published. A list where a variable passes several mechanisms. A site of the program
        that is private noise (:func:`pcm.private.observe`) is ``"raw"`` and costs what its mechanism costs.
    private : str or list of str
        What must stay hidden.
    adversary : str or list of str
        Variables of the unit that the adversary knows exactly, from elsewhere.
    graph : networkx.DiGraph, optional
        The graph on which the claim is made, if it is another than the program's: it must have all of its edges.
    delta : float
        δ of the claims; mechanisms that have no finite ε at δ = 0 need one.
    draws : int
        Of the parameters of a fit, at most, for the model-conditional value.
    seed : int, optional

    Returns
    -------
    Claims
        Of a continuous private variable the first two kinds; the model's own number needs finite ones, and says so.

    Raises
    ------
    ClaimError
        The program has an edge that the claimed graph lacks; the adversary knows the private variable.
    UnknownNameError, ArgumentError
        Names that are no variables, releases that are no mechanisms.

    Notes
    -----
    A graph-conditional claim that does not hold is *refused* (``.refused`` says by which trail, ``.epsilon`` is ∞,
    ``.require(ε)`` raises): where a raw release is joined to the private variable by a directed path, by a back-door
    path, or by a collider that the adversary's knowledge opens. It is not record-level differential privacy: over a
    whole table with unknown parameters, which every release tells something about, no such bound holds.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def backdoor():
    ...     z = pyro.sample("z", dist.Bernoulli(0.5))
    ...     pyro.sample("a", dist.Bernoulli(0.05 + 0.9 * z))
    ...     pyro.sample("u", dist.Bernoulli(0.1 + 0.8 * z))
    >>> claims(pcm.SCM(backdoor), {"u": "raw"}, private="a")
    Claims about a unit's a, released: u raw
      unconditional: ε = ∞, u raw: ∞
      graph-conditional: REFUSED (ε = ∞): u is released raw and depends on a: u ← z → a
      model-conditional: ε = 1.815, a = 0 against a = 1; interventional 0
    """
    check_count(draws, "draws")
    if seed is not None:
        check_seed(seed)
    model, program = model_of(scm), scm.graph
    check_delta(delta)
    secrets = read_names(private, program, "private")
    known = read_names(adversary, program, "adversary", empty=True)
    both = [name for name in secrets if name in known]
    if both:
        raise ClaimError(
            f"the adversary knows '{both[0]}', which is private: nothing is left to protect.", name=both[0]
        )
    made = read_releases(releases, program)
    # answers of a mechanism that the program itself contains are released as they are, and cost what it costs
    inside = _noised_inside(model, releases)
    made |= inside
    claimed = program if graph is None else _with_noise(graph, program, model)
    check_graph(claimed, program)
    return Claims(
        _unconditional(made, delta),
        _graph_conditional(claimed, made, secrets, known, delta, tuple(inside)),
        _model_conditional(scm, {**made, **dict.fromkeys(inside, ())}, secrets, known, delta, draws, seed),
        private=secrets,
        adversary=known,
        releases=made,
    )


def read_names(names: Any, graph: nx.DiGraph, role: str, *, empty: bool = False) -> tuple[str, ...]:
    """Variables of the graph, by a role in messages.

    Raises
    ------
    ArgumentError, UnknownNameError
        None at all, one twice, one that is not there.
    """
    if not isinstance(names, str | Iterable):
        raise ArgumentError(f"{role}={names!r}: a variable's name, or a list of them, is needed.")
    found = (names,) if isinstance(names, str) else tuple(names)
    if not found and not empty:
        raise ArgumentError(f"{role}= names no variable; there are {listed(graph)}.")
    for name in found:
        if name not in graph:
            raise UnknownNameError(name, known=list(graph))
    if len(set(found)) < len(found):
        raise ArgumentError(f"{role}={list(found)!r} names a variable twice.")
    return found


def read_releases(releases: Any, graph: nx.DiGraph) -> dict[str, tuple[Any, ...]]:
    """Mechanisms by variable; none for a raw release.

    Raises
    ------
    ArgumentError, UnknownNameError
        Not a dict, something that is no mechanism, a name that is no variable.
    """
    if not isinstance(releases, Mapping) or not releases:
        raise ArgumentError(f"releases= is a dict of variable to mechanism or 'raw'; found {releases!r}.")
    found: dict[str, tuple[Any, ...]] = {}
    for name, given in releases.items():
        if name not in graph:
            raise UnknownNameError(name, known=list(graph))
        several = given if isinstance(given, list | tuple) else [given]
        if any(isinstance(one, str) and one == RAW for one in several):
            found[name] = ()  # nothing noised beside the raw value matters
            continue
        made = [getattr(one, "mechanism", one) for one in several]
        for one in made:
            if not isinstance(one, Mechanism):
                raise ArgumentError(
                    f"releases={{'{name}': …}}: {one!r} is neither a mechanism, a release of one, nor 'raw'.", name=name
                )
        if not made:
            raise ArgumentError(f"releases={{'{name}': []}}: no mechanism; leave out what is not released.", name=name)
        found[name] = tuple(made)
    return found


# -- the three kinds ---------------------------------------------------------------------------------------------------


def _unconditional(releases: Mapping[str, tuple[Any, ...]], delta: float) -> Claim:
    raw = [name for name, made in releases.items() if not made]
    every = [mechanism for made in releases.values() for mechanism in made]
    epsilon, spent = composed(every, delta)
    words = [f"{name} raw: ∞" for name in raw]
    words += [f"{name}: {cost_words(made, delta)}" for name, made in releases.items() if made]
    return Claim(
        "unconditional",
        np.inf if raw else epsilon,
        spent,
        says="; ".join(words),
        assumptions=(
            "each mechanism is run as stated, on this unit's own value, with noise independent of everything",
            "of any two values of each released variable, whatever the adversary knows and whatever the graph",
            "costs of all releases compose; this, and only this, is what a ledger counts",
        ),
    )


def _graph_conditional(
    graph: nx.DiGraph,
    releases: Mapping[str, tuple[Any, ...]],
    private: tuple[str, ...],
    known: tuple[str, ...],
    delta: float,
    inside: tuple[str, ...],
) -> Claim:
    trails = open_trails(graph, private, releases, known)
    leaking = [name for name in trails if not releases[name]]
    secret, free = listed(private), [name for name in releases if name not in trails]
    knowledge = f"exactly {listed(known)} of this unit" if known else "nothing else of this unit"
    breaking = openers(graph, private, free, known) if free else []
    assumptions = (
        f"the graph: the law is Markov to {len(graph)} variables and {graph.number_of_edges()} edges, every common "
        "cause among them",
        f"the adversary knows the parameters and {knowledge}"
        + (f"; it fails if they also know {listed(breaking)}" if breaking else ""),
        "per unit: units are independent given the parameters; over a table with unknown parameters it does not hold",
        "noise independent of everything; not record-level differential privacy, and a ledger does not count it",
    )
    if leaking:
        reasons = [
            "the private variable itself is released raw"
            if name in private
            else f"{name} is released raw and depends on {secret}: {trails[name]}"
            for name in leaking
        ]
        return Claim("graph-conditional", np.inf, 0.0, assumptions=assumptions, refused="; ".join(reasons))
    below = [(name, k) for name in inside if name in trails for k in known if k in descendants(graph, name)]
    if below:
        (name, k), *_ = below
        reason = f"the adversary knows {k}, which depends on the noise of {name}: noise is no longer independent of it"
        return Claim("graph-conditional", np.inf, 0.0, assumptions=assumptions, refused=reason)
    epsilon, spent = composed([mechanism for name in trails for mechanism in releases[name]], delta)
    words = [f"{name} ({trail}) costs {cost_words(releases[name], delta)}" for name, trail in trails.items()]
    if free:
        given = f" given {listed(known)}" if known else ""
        words.append(f"{listed(free)} {'says' if len(free) == 1 else 'say'} nothing of {secret}{given}")
    return Claim("graph-conditional", epsilon, spent, says="; ".join(words), assumptions=assumptions)


def _model_conditional(
    scm: Any,
    releases: Mapping[str, tuple[Any, ...]],
    private: tuple[str, ...],
    known: tuple[str, ...],
    delta: float,
    draws: int,
    seed: int | None,
) -> Claim:
    model = scm._model
    fitted = bool(model.free) and model.posterior is not None
    assumptions = (
        "the model's mechanisms in every number"
        + (", as the posterior of their parameters has them" if fitted else ""),
        "never a guarantee: it bounds nothing if the model is wrong, and nothing of tables",
    )
    try:
        found = model_leak(model, private, known, releases, delta=delta, draws=draws, seed=seed)
    except QueryError as error:
        refused = f"{error} The other two claims are made without it."
        return Claim("model-conditional", np.nan, delta, assumptions=assumptions, refused=refused)
    interventional = float(found.interventional.mean())
    words = [part for part in (found.worst, f"interventional {_figure(interventional)}") if part]
    return Claim(
        "model-conditional",
        float(found.epsilon.mean()),
        delta,
        says="; ".join(words),
        assumptions=(*assumptions, *found.notes),
        draws=found.epsilon if fitted else None,
        interventional=interventional,
    )


def _noised_inside(model: Any, releases: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Released sites that are private noise in the program, each with its mechanism."""
    found = {}
    for name, given in releases.items():
        mechanism = model.structure.sites[name].mechanism
        if mechanism is None or name in model.interventions:
            continue
        if (isinstance(given, str) and given == RAW) or getattr(given, "mechanism", None) == mechanism:
            found[name] = (mechanism,)
    return found


def _with_noise(graph: nx.DiGraph, program: nx.DiGraph, model: Any) -> nx.DiGraph:
    """The claimed graph with the program's noisy children, which a claim need not name."""
    if not isinstance(graph, nx.DiGraph):
        return graph  # refused where it is checked
    noisy = [name for name in program if name not in graph and model.structure.sites[name].mechanism is not None]
    made = nx.DiGraph(graph)
    made.add_edges_from((parent, name) for name in noisy for parent in program.predecessors(name))
    return made


def _figure(value: float) -> str:
    return "∞" if np.isinf(value) else f"{max(value, 0.0):.4g}" if value > 1e-12 else "0"
