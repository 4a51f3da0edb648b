"""Can these requirements coexist, why not, and at what price?

>>> import pyro, pyro.distributions as dist, pcm
>>> def pair():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     x = pyro.sample("x", dist.Normal(a, 1.0))
...     pyro.sample("y", dist.Normal(2 * a + x, 1.0))
>>> check(pcm.SCM(pair), [pcm.counterfactual_fairness("a", outcome="y")]).price
price: 9
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import networkx as nx

from pcm.arguments import check_count, check_names
from pcm.errors import ArgumentError, GraphError, listed
from pcm.graph import CausalGraph, descendants
from pcm.query.account import Account
from pcm.query.accounting import parameter_words
from pcm.requirement import Independence, Requirement
from pcm.requirement.references import reference_laws
from pcm.scm import SCM
from pcm.trust.apart import not_gaussian, without_method
from pcm.trust.closed_form import ClosedForm
from pcm.trust.conflicts import Coexistence, Conflict
from pcm.trust.gaussian_log import GaussianLog
from pcm.trust.linear_law import LinearLaw, linear_law
from pcm.trust.over_draws import parameter_draws, simulated
from pcm.trust.partial import PartialVerdict, fitted_law, members
from pcm.trust.sampled import finitely_sampled
from pcm.trust.verdict import Verdict, figure
from pcm.trust.witnessed import with_bounds
from pcm.worlds import choose_seed

__all__ = ["check"]

LOSSES = ("squared", "log")


def check(
    scm_or_graph: Any,
    requirements: Sequence[Any],
    *,
    inputs: Sequence[str] | None = None,
    hidden: Sequence[str] = (),
    loss: str = "squared",
    data: Any = None,
    weights: Sequence[float] | None = None,
    simulate: bool = False,
    units: int = 20_000,
    draws: int = 200,
    seed: int | None = None,
) -> Verdict | PartialVerdict:
    """Whether requirements can coexist on a model, why not, and at what price.

    Parameters
    ----------
    scm_or_graph : SCM, DiGraph, or list of either
        A graph alone gives verdicts for generic parameters, and prices only with ``data``. A list of graphs, or a
        graph with undirected edges (``a → b`` together with ``b → a``: a CPDAG), is a class: each member is checked.
    requirements : list of Requirement and Independence
        All on one outcome.
    inputs : list of str, optional
        Variables that the predictor may read; all but the outcome and its descendants by default.
    hidden : list of str
        Variables that it may not read.
    loss : {"squared", "log"}
        On a linear law log loss is that of a Gaussian with the prediction for mean and the spread of its errors;
        elsewhere it needs a binary outcome.
    data : DataFrame, optional
        Of a graph: linear equations are fitted to it by least squares, and prices follow.
    weights : list of float, optional
        Of a class: how probable each member is (all the same by default).
    simulate : bool
        Whether to simulate where a closed form is known too.
    units : int
        Of a simulation, at least 100; they are spread evenly, in twenty independent nets that give the standard errors.
    draws : int
        Of the parameters of a fitted model; a simulation looks at 16 of them at most, and shares its units
        out, 500 to each at least; of fewer than 1,000 units the intervals say nothing of the parameters.
    seed : int, optional

    Returns
    -------
    Verdict, or PartialVerdict for a class

    Notes
    -----
    Where variables are not jointly Gaussian, what an :class:`Independence` costs is exact on finite programs (a linear
    programme on the table), the barycentre's price for demographic parity in groups that are read, and else that of
    predictions derived from the score within groups; where no such method holds, ``how`` names what is missing and
    there is no price. The least price under requirements on paths is exact on finite programs and over polynomial
    corrections elsewhere (``least_over``).

    Raises
    ------
    ArgumentError, UnknownNameError, GraphError
        Requirements on several outcomes, names or paths that are not there (the nearest are suggested), a source
        downstream of the outcome.
    QueryError
        A log loss that is not defined for the outcome; of a simulation also vectors before the outcome, sources that
        the program computes, interventions that set a variable from others.

    References
    ----------
    Binkyte et al., arXiv 2605.02640. Chiappa, "Path-specific counterfactual fairness", AAAI 2019. Chzhen et al., "Fair
    regression with Wasserstein barycenters", NeurIPS 2020. Hardt, Price & Srebro, "Equality of opportunity in
    supervised learning", NeurIPS 2016.

    Examples
    --------
    >>> import networkx as nx, pcm
    >>> graph = nx.DiGraph([("a", "x"), ("x", "y"), ("a", "y")])
    >>> fair = pcm.Requirement("a", outcome="y", admissible="a -> x -> y")
    >>> pcm.check(graph, [fair, pcm.responsive_to("a", outcome="y")]).kinds
    ('contradiction',)
    """
    asked = _requirements(requirements)
    if loss not in LOSSES:
        raise ArgumentError(f"loss={loss!r} is none of {listed(LOSSES)}.")
    if not isinstance(simulate, bool):
        raise ArgumentError(f"simulate={simulate!r}: True or False.")
    check_count(units, "units")
    check_count(draws, "draws")
    options = {
        "outcome": next(r.outcome for r in asked if r.outcome is not None),
        "inputs": inputs,
        "hidden": hidden,
        "loss": loss,
        "simulate": simulate,
        "units": units,
        "draws": draws,
        "seed": choose_seed(seed),
    }
    class_of = members(scm_or_graph)
    if class_of is None and weights is not None:
        raise ArgumentError("weights= are those of the graphs of a class; one model or graph was given.")
    if class_of is not None:
        found = _class_members(class_of, asked)
        verdicts = [_check_one(member, kept, data, **options) for member, kept in found]
        return PartialVerdict(verdicts, weights)
    return _check_one(scm_or_graph, asked, data, **options)


def _check_one(
    model: Any,
    asked: tuple[Any, ...],
    data: Any,
    *,
    outcome: str,
    inputs: Sequence[str] | None,
    hidden: Sequence[str],
    loss: str,
    simulate: bool,
    units: int,
    draws: int,
    seed: int,
) -> Verdict:
    # every row is one that the model draws: private noise among them needs no release
    scm = SCM._of(replace(model._model, plain=True)) if isinstance(model, SCM) else None
    graph = CausalGraph(model.graph if scm is not None else model).without_inert()
    for r in asked:
        r.check(graph)
    pinning = [r for r in asked if isinstance(r, Requirement)]
    _one_reference(pinning, labelled=scm is not None)
    if scm is not None:
        reference_laws(scm._model, pinning)
        if data is not None:
            raise ArgumentError(
                "data= gives a graph its law; a model has its own. Fit the model to the data, scm.fit(data), or check "
                "its graph, pcm.check(scm.graph, …, data=data)."
            )
    reads = _inputs(graph, outcome, inputs, hidden)
    law: LinearLaw | str = "no law is given"
    if scm is not None:
        law = linear_law(scm, draws=draws, seed=seed)
        if isinstance(law, LinearLaw):
            odd = _not_conditional(law, reads)
            law = odd or law
    elif data is not None:
        law = fitted_law(graph, data)
    apart = any(isinstance(r, Independence) for r in asked)
    linear = law if isinstance(law, LinearLaw) else None
    if scm is not None and linear is not None:
        law = not_gaussian(linear, asked, outcome, reads) or linear
    closed = isinstance(law, LinearLaw) and not (simulate and scm is not None)
    looked_at = Coexistence(graph, asked, outcome, reads, linear.averaged() if linear is not None else None)
    known = [with_bounds(conflict, scm, graph) for conflict in looked_at.conflicts]
    known += finitely_sampled(asked, scm, data)
    shared: dict[str, Any] = {
        "graph": graph,
        "requirements": asked,
        "outcome": outcome,
        "inputs": reads,
        "core": tuple(asked[i] for i in looked_at.core),
        "feasible": looked_at.feasible,
        "loss": loss,
    }
    each = [] if closed or scm is None else parameter_draws(scm, draws, units, seed)
    # of a linear law the log loss is a Gaussian's, simulated or not; elsewhere the outcome has to be binary
    continuous = scm is not None and scm._model.structure.sites[outcome].cardinality != 2
    gaussian = loss == "log" and isinstance(law, LinearLaw) and continuous
    scored = "squared" if gaussian else loss
    why = without_method(each[0], asked, outcome, reads, scored) if each and apart else None
    if not closed and (not each or (why and not pinning)):
        return Verdict(**shared, conflicts=known, how=_how_on_graph(why))
    priced = asked if why is None else tuple(pinning)  # beside an independence without a price, the paths' table
    numbers: Any
    if closed:
        assert isinstance(law, LinearLaw)
        account = _account(scm, law.draws, "closed form on linear equations")
        numbers = ClosedForm(graph, law, asked, outcome, reads, loss, account)
        how = "closed form" if law.draws == 1 else f"closed form, {law.draws} posterior draws"
    else:
        assert scm is not None
        reason = f"simulated, because {law}" if isinstance(law, str) else "simulated as asked"
        account = _account(scm, len(each), reason)
        numbers = simulated(
            each,
            seed,
            account,
            units,
            graph=graph,
            requirements=priced,
            outcome=outcome,
            inputs=reads,
            loss=scored,
            apart=apart and why is None,
        )
        numbers = GaussianLog(numbers) if gaussian else numbers
        how = f"simulation, {numbers.units} units"
        if scm._model.free:
            drawn = f"each of {len(each)} draws" if len(each) > 1 else "one draw"
            how += f" in {drawn} of the parameters"
        if why is not None:
            how = f"{how}; {_no_price(why)}"
            return Verdict(**shared, conflicts=known, how=how, rows=numbers.rows, account=account)
    # two requirements that pin different effects leave nothing to deliver, and so no price
    met = looked_at.feasible
    lost = looked_at.lost or (apart and numbers.price_minimum is None)
    return Verdict(
        **shared,
        conflicts=[*known, *([] if lost else _priced(numbers, looked_at.feasible, asked))],
        how=how,
        rows=numbers.rows,
        delivered="" if lost else numbers.delivered,
        price=None if lost else numbers.price,
        price_minimum=numbers.price_minimum if met else None,
        least_over=numbers.least_over if met and numbers.price_minimum is not None else "",
        shadow_prices=numbers.shadow_prices if met else {},
        gaps={} if lost else numbers.gaps,
        laundering_gap=None if lost else numbers.laundering_gap,
        account=account,
    )


# -- private ---------------------------------------------------------------------------------------------------------


def _priced(numbers: Any, feasible: bool, asked: tuple[Any, ...]) -> list[Conflict]:
    """Soft or free, from the price and the residual gaps."""
    found = []
    for name, gap in numbers.gaps.items():
        slack = min(r.tolerance for r in numbers.pinning if name in r.variables)
        noise = 3 * (gap.standard_error or 0.0) + 1e-9
        if abs(gap.mean) > slack + noise:
            core = tuple(r for r in numbers.pinning if name in r.variables)
            said = f"tolerance {slack:g}" if slack else "no tolerance"
            found.append(
                Conflict("soft", core, f"residual gap of {name}: {figure(gap)} beyond the pinned effect ({said})")
            )
    if not feasible:
        return found
    price = numbers.price
    if price.mean > 1e-9 + 3 * (price.standard_error or 0.0):
        found.append(Conflict("soft", asked, f"attainable at a price of {figure(price)}"))
    elif not found:
        found.append(Conflict("free", asked, "the best predictor meets the requirements as it is"))
    return found


def _how_on_graph(why: str | None) -> str:
    known = "from the graph, for generic parameters"
    return known if why is None else f"{known}; {_no_price(why)}"


def _no_price(why: str) -> str:
    return f"the independence has no price here: {why}"


def _requirements(given: Any) -> tuple[Any, ...]:
    if isinstance(given, Requirement | Independence):
        given = [given]
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ArgumentError(f"check needs a list of requirements; found {given!r}.")
    for r in given:
        if not isinstance(r, Requirement | Independence):
            raise ArgumentError(f"{r!r} is no requirement: use pcm.Requirement or pcm.Independence.")
    outcomes = list(dict.fromkeys(r.outcome for r in given if r.outcome is not None))
    if len(outcomes) != 1:
        found = listed(outcomes) if outcomes else "none names one"
        raise ArgumentError(f"the requirements of a check are on one outcome; found {found}.", outcomes=outcomes)
    return tuple(given)


def _inputs(graph: nx.DiGraph, outcome: str, inputs: Any, hidden: Any) -> tuple[str, ...]:
    check_names(hidden, "hidden", graph)
    if inputs is not None:
        check_names(inputs, "inputs", graph)
    if inputs is None:
        below = descendants(graph, outcome, include_self=True)
        before = [n for n in graph if n not in below]
        if before and not set(before) - {*hidden}:
            raise ArgumentError(
                f"hidden= leaves a predictor of '{outcome}' nothing to read: it names all of {listed(before)}."
            )
        return tuple(n for n in before if n not in hidden)
    if not len(inputs):
        raise ArgumentError(f"inputs=[] leaves a predictor of '{outcome}' nothing to read.")
    if outcome in inputs:
        raise ArgumentError(f"the outcome '{outcome}' is among the inputs; a predictor of it may not read it.")
    both = [n for n in inputs if n in hidden]
    if both:
        raise ArgumentError(f"{listed(both)} is named in inputs= and in hidden=; keep one.")
    return tuple(dict.fromkeys(inputs))


def _one_reference(pinning: Sequence[Requirement], *, labelled: bool) -> None:
    """Raise where two requirements give one source different references, or where labels mean nothing."""
    given: dict[str, Any] = {}
    for r in pinning:
        words = [law for law in r.references.values() if isinstance(law, str)]
        if words and not labelled:
            raise ArgumentError(f"reference={words[0]!r}: a graph knows no labels; give a number or a distribution.")
        for name in r.variables:
            law = r.references.get(name, "independent")
            if repr(given.setdefault(name, law)) != repr(law):
                raise ArgumentError(
                    f"two requirements give '{name}' different references: {given[name]!r}, {law!r}.", source=name
                )


def _not_conditional(law: LinearLaw, inputs: Sequence[str]) -> str | None:
    """Why conditional means are not linear, if so: noise that is not Gaussian and not that of an observed root."""
    fine = law.gaussian | (law.roots() & set(inputs))
    odd = [n for n in law.names if n not in fine]
    # nothing is inferred where every variable but one is read: its own noise may be of any kind
    whole = set(law.names) - set(inputs)
    if odd and len(whole) > 1:
        return f"the noise of {listed(odd)} is not Gaussian, and inputs are missing"
    return None


def _class_members(class_of: list[Any], asked: tuple[Any, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
    """Members with the requirements that make sense there; raise where one makes sense in none."""
    found, failures = [], {}
    for member in class_of:
        graph = member.graph if isinstance(member, SCM) else member
        kept = []
        for r in asked:
            try:
                r.check(graph)
                kept.append(r)
            except GraphError as error:
                failures.setdefault(r, []).append(error)
                if isinstance(r, Requirement):
                    kept.append(_in_graph(r, graph))
        found.append((member, tuple(k for k in kept if k is not None)))
    for errors in failures.values():
        if len(errors) == len(class_of):
            raise errors[0]
    return found


def _in_graph(r: Requirement, graph: nx.DiGraph) -> Requirement | None:
    """A requirement with only the sources and paths that this member of a class has; None where it has no source."""
    assert r.outcome is not None
    below = descendants(graph, r.outcome)
    sources = [name for name in r.variables if name not in below]
    if not sources:
        return None
    patterns = [" -> ".join(p) for p in r.admissible.patterns if _there(r, " -> ".join(p), graph)]
    edges = [e for e in r.admissible.edges if graph.has_edge(*e)]

    def keeping(admissible: Any) -> Requirement:
        return Requirement(
            r.source if len(sources) == len(r.variables) else sources,
            outcome=r.outcome,
            admissible="all" if r.admissible.everything else admissible or "none",
            reference={name: value for name, value in r.references.items() if name in sources} or "independent",
            tolerance=r.tolerance,
            role=r.role,
        )

    try:
        keeping([*patterns, *edges]).check(graph)
    except GraphError:
        edges = []
    return keeping([*patterns, *edges])


def _there(r: Requirement, item: Any, graph: nx.DiGraph) -> bool:
    try:
        Requirement(r.source, outcome=r.outcome, admissible=item).check(graph)
    except GraphError:
        return False
    return True


def _account(scm: SCM | None, lanes: int, note: str) -> Account:
    words, khat, ess = parameter_words(scm._model, lanes) if scm is not None else ("least squares", None, None)
    return Account(
        rung=3,
        identification="model-dependent: the target rests on the program's structural equations",
        parameters=words,
        khat=khat,
        ess=ess,
        notes=(note,),
    )
