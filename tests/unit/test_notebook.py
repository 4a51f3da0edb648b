"""What a notebook's cell shows: every result has a form for it, with its words, and everything in it escaped."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from html.parser import HTMLParser

import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest

import pcm
from pcm import private
from pcm.notebook import Shown, lines_to_html, table_to_html, words_to_html
from pcm.private.audits import Audit
from pcm.testing.report import Report

HOSTILE = "<b>&'x'"


def program():
    a = pyro.sample("a", dist.Bernoulli(0.5))
    m = pyro.sample("m", dist.Normal(a, 1.0))
    pyro.sample("y", dist.Bernoulli(logits=m - a))


def line(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(slope * x, 1.0))


def finite():
    a = pyro.sample("a", dist.Bernoulli(0.5))
    b = pyro.sample("b", dist.Bernoulli(0.3 + 0.4 * a))
    pyro.sample("y", dist.Bernoulli(0.2 + 0.3 * a + 0.3 * b))


FINITE = pcm.SCM(finite, categories={"a": ["no", HOSTILE]})
SCM = pcm.SCM(program, categories={"a": ["no", HOSTILE]})
ROWS = SCM.sample(60, seed=0)
FAIR = pcm.Requirement("a", outcome="y")
RR = private.RandomizedResponse(epsilon=1.0, categories=["no", HOSTILE])


def ledger() -> private.Ledger:
    made = private.Ledger(epsilon=5.0)
    made.book_raw(HOSTILE)
    return made


def predictor() -> pcm.CausalClassifier:
    return pcm.CausalClassifier(SCM, "y", requirements=[FAIR], states=2, copies=2).fit(ROWS)


def fitted() -> pcm.SCM:
    return pcm.SCM(line).fit(pcm.SCM(line).given(slope=1.0).sample(50, seed=0), seed=0, progress=False)


# what each shows, and the words that must be in it
RESULTS = {
    "SCM": (lambda: SCM, "program"),
    "CausalGraph": (lambda: SCM.graph, "<svg"),
    "Counterfactual": (lambda: SCM.counterfactual(ROWS, do={"a": "no"}), "<td>"),
    "Account": (lambda: SCM.counterfactual(ROWS, do={"a": HOSTILE}).account, "Bernoulli"),
    "Posterior": (lambda: fitted().posterior, "slope"),
    "Effect": (lambda: pcm.ate(SCM, "a", "y", treated=HOSTILE, control="no"), "against no) on y"),
    "Effect of groups": (lambda: pcm.cate(SCM, "m", "y", given=["a"], treated=1.0, control=0.0), "<table"),
    "Bounds": (lambda: pcm.bounds(FINITE, "PNS(b, y)"), "between"),
    "Overlap": (lambda: pcm.overlap(SCM, "a", ROWS), "Overlap of a"),
    "Sensitivity": (lambda: pcm.sensitivity(fitted(), "x", "y", seed=0), "Sensitivity"),
    "Criticism": (lambda: pcm.criticise(SCM, ROWS, seed=0), "<table>"),
    "Identification": (lambda: pcm.identify(nx.DiGraph([(HOSTILE, "y")]), HOSTILE, "y"), "P(y"),
    "Prediction": (lambda: pcm.CausalRegressor(SCM, "m").fit(ROWS).predict_distribution(ROWS), "Prediction of m"),
    "ClassPrediction": (lambda: predictor().predict_distribution(ROWS), "ClassPrediction of y"),
    "Wiring": (lambda: predictor().wiring_, "as it "),
    "Twins": (lambda: pcm.twins(predictor(), SCM, ROWS, "a"), "Twins by a"),
    "InterventionalRisk": (lambda: pcm.interventional_risk(predictor(), SCM, [{"m": 0}, {"m": 1}]), "intervention"),
    "Verdict": (lambda: pcm.check(SCM, [FAIR], units=2_000, seed=0), "<svg"),
    "PartialVerdict": (
        lambda: pcm.check([nx.DiGraph([("a", "y"), ("b", "y")])] * 2, [pcm.irrelevant_to("a", outcome="y")]),
        "2 graphs",
    ),
    "Conflict": (lambda: pcm.Conflict("hard", (), HOSTILE), "hard"),
    "Ledger": (ledger, "published raw"),
    "Release": (lambda: private.Release([HOSTILE, "no"], RR, name=HOSTILE), "Release"),
    "Aggregate": (
        lambda: private.Aggregate([1.0, 2.0], private.CrossTable({"t": [0, 1]}, epsilon=1.0), rows=3),
        "t = 1",
    ),
    "Claims": (lambda: private.claims(SCM, {"a": RR}, private="a"), "model-conditional"),
    "Claim": (lambda: private.claims(SCM, {"a": RR}, private="a").unconditional, "unconditional"),
    "Obfuscation": (
        lambda: private.targeted(FINITE, private="a", candidates=["a", "b"], utility="y", epsilon=1.0),
        "drop",
    ),
    "Audit": (lambda: Audit(epsilon=1.0, confidence=0.9, found=HOSTILE), "ε ≥ 1"),
    "Membership": (lambda: private.Membership(table_of_attacks(), 0.95), "auc"),
    "Report": (lambda: Report(HOSTILE), "0 laws kept"),
}


def table_of_attacks() -> pd.DataFrame:
    row = {"predictor": HOSTILE, "nonmembers": "in-distribution", "auc": 0.5, "auc_low": 0.4, "auc_high": 0.6}
    more = {"advantage": 0.0, "advantage_low": 0.0, "advantage_high": 0.1, "tpr": 0.0, "inputs": HOSTILE}
    return pd.DataFrame([{**row, **more}, {**row, **more, "predictor": "control"}])


class Tags(HTMLParser):
    """Tags that are open; each is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", list(RESULTS))
def test_every_result_has_a_form_for_notebooks(name):
    make, words = RESULTS[name]
    found = make()
    assert name.startswith(type(found).__name__)
    page = found._repr_html_()
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert words in page and not tags.open
    assert HOSTILE not in page


def test_no_result_is_left_out():
    """Whatever has a table or a picture of its own has a form for notebooks, and is looked at above."""
    found = set()
    for module in pkgutil.walk_packages(pcm.__path__, "pcm."):
        if not module.name.endswith("__main__"):
            found |= {each for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)}
    results = {
        each.__name__
        for each in found
        if each.__module__.startswith("pcm.")
        and (issubclass(each, Shown) or any(hasattr(each, way) for way in ("to_dataframe", "to_series", "plot")))
    }
    assert results - {"Shown"} <= set(RESULTS)


def test_words_lines_and_tables():
    assert words_to_html("a\n  <b>") == "<p>a</p><ul><li>&lt;b&gt;</li></ul>" and words_to_html("a") == "<p>a</p>"
    assert "&lt;b&gt;" in lines_to_html([("key", "<b>")]) and lines_to_html([]) == ""
    long = table_to_html(pd.DataFrame({HOSTILE: np.arange(12.0)}))
    assert "… 2 more rows" in long and HOSTILE not in long and long.count("<tr") == 11


def test_plain_forms_stay_as_they_were():
    assert repr(pcm.Conflict("hard", (), HOSTILE)) == f"hard: {HOSTILE}"
