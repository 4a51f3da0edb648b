"""The command line: what it prints, where it writes, how it refuses."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from pcm.cli import load_program, main, parse_interventions
from pcm.errors import ArgumentError, ProgramError, UnknownNameError

PROGRAM = """
import pyro
import pyro.distributions as dist


def clinic():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    labs = pyro.sample("labs", dist.Normal(0.8 * age, 0.5))
    pyro.sample("weight", dist.Normal(2.0 * labs - age, 1.0))
    pyro.sample("alone", dist.Normal(0.0, 1.0))


def trial(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 10.0))
    with pyro.plate("units", n):
        dose = pyro.sample("dose", dist.Exponential(1.0))
        pyro.sample("response", dist.Normal(slope * dose, 0.5))


program = clinic
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "clinic.py"
    path.write_text(PROGRAM)
    patients = pd.DataFrame(
        {"who": ["ann", "bob"], "age": [0.0, 1.0], "labs": [1.0, 0.5], "weight": [2.5, 0.0], "alone": [0.0, 0.0]}
    )
    patients.to_csv("patients.csv", index=False)
    patients.set_index("who").to_parquet("patients.parquet")
    return path


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    done = capsys.readouterr()
    return stop.value.code, done.out, done.err


# --- queries ----------------------------------------------------------------------------------------------------------

# weight = 2 labs − age + noise, so that do(labs=0) takes 2 labs away: 2.5 − 2 = 0.5 and 0 − 1 = −1.


@pytest.mark.parametrize("data", ["patients.csv", "patients.parquet"])
@pytest.mark.parametrize("out", ["cf.csv", "cf.parquet"])
def test_query_writes_the_counterfactual_of_each_unit(file, capsys, data, out):
    arguments = ("query", "clinic.py:clinic", "--data", data, "--index", "who", "--do", "labs=0", "--outcome", "weight")
    code, printed, _ = run(capsys, *arguments, "--out", out)
    assert (code, printed) == (0, f"wrote 4 rows to {out}\n")
    answer = pd.read_csv(out, index_col="who") if out.endswith("csv") else pd.read_parquet(out)
    assert list(answer) == ["world", "weight"]
    assert answer.index.tolist() == ["ann", "bob"] * 2
    assert answer["world"].tolist() == ["factual"] * 2 + ["do"] * 2
    assert answer["weight"].tolist() == pytest.approx([2.5, 0.0, 0.5, -1.0], abs=1e-12)


def test_query_prints_without_out(file, capsys):
    code, out, _ = run(capsys, "query", "clinic.py", "--data", "patients.csv", "--do", "labs=0", "--do", "age=0")
    assert code == 0
    assert out.split()[:5] == ["world", "age", "labs", "weight", "alone"]


def test_query_prints_the_first_rows_of_many(file, capsys):
    pd.DataFrame({"age": 0.0, "labs": 1.0, "weight": 2.0, "alone": 0.0}, index=range(25)).to_csv(
        "many.csv", index=False
    )
    _, out, _ = run(capsys, "query", "clinic.py", "--data", "many.csv", "--do", "labs=0", "--outcome", "weight")
    assert "40 more rows" in out


def test_query_speaks_labels(file, capsys):
    labelled = """
import pcm
import pyro
import pyro.distributions as dist
import torch


def program():
    sick = pyro.sample("sick", dist.Bernoulli(0.5))
    plan = pyro.sample("plan", dist.Categorical(torch.tensor([0.5, 0.25, 0.25])))
    pyro.sample("cost", dist.Normal(100.0 * plan + 10.0 * sick, 1.0))


scm = pcm.SCM(program, categories={"plan": ["none", "basic", "full"]})
"""
    (file.parent / "labelled.py").write_text(labelled)
    pd.DataFrame({"sick": [0, 1], "plan": ["full", "none"], "cost": [201.0, 9.0]}).to_csv("costs.csv", index=False)
    arguments = ("query", "labelled.py:scm", "--data", "costs.csv", "--do", "plan=basic", "--outcome", "cost")
    code, out, error = run(capsys, *arguments, "--outcome", "plan", "--out", "cf.csv")
    assert code == 0, out + error
    answer = pd.read_csv("cf.csv").query("world == 'do'")
    assert answer["cost"].tolist() == pytest.approx([101.0, 109.0])
    assert answer[["plan=none", "plan=basic", "plan=full"]].to_numpy().tolist() == [[0, 1, 0]] * 2
    assert "Did you mean 'basic'?" in run(capsys, *arguments[:5], "plan=basik")[2]


def test_labels_of_a_file_are_those_of_its_program(file, capsys):
    text = """
import pyro
import pyro.distributions as dist
import torch


def sick():
    pyro.sample("plan", dist.Categorical(torch.tensor([0.5, 0.5])))


def well():
    pyro.sample("age", dist.Normal(0.0, 1.0))


categories = {"plan": ["none", "full"]}
"""
    (file.parent / "wards.py").write_text(text)
    pd.DataFrame({"plan": ["full"]}).to_csv("plans.csv", index=False)
    code, out, error = run(capsys, "query", "wards.py:sick", "--data", "plans.csv", "--do", "plan=none")
    assert code == 0 and "plan=full" in out, error
    pd.DataFrame({"age": [1.0]}).to_csv("ages.csv", index=False)
    assert run(capsys, "query", "wards.py:well", "--data", "ages.csv", "--do", "age=2")[0] == 0
    code, out, error = run(capsys, "query", "wards.py:well", "--data", "ages.csv", "--do", "age=old")
    assert (code, out) == (1, "") and "'old' is no number" in error and "labels" not in error
    assert "Say which: wards.py:sick." in run(capsys, "graph", "wards.py")[2]


def test_query_fits_first(file, capsys):
    dose = pd.Series([0.5, 1.0, 1.5, 2.0] * 50)
    pd.DataFrame({"dose": dose, "response": 3.0 * dose}).to_csv("trial.csv", index=False)
    pd.DataFrame({"dose": [1.0], "response": [4.0]}).to_csv("new.csv", index=False)
    arguments = ("query", "clinic.py:trial", "--data", "new.csv", "--fit", "trial.csv", "--do", "dose=2", "--seed", "1")
    code, out, error = run(capsys, *arguments, "--outcome", "response", "--out", "cf.csv")
    assert code == 0, out + error
    answer = pd.read_csv("cf.csv").set_index("world").loc["do"]
    # 4 + slope · (2 − 1); the slope is 3 with standard deviation 0.5 / √Σ dose² = 0.0258, its 90 % interval 0.085 wide
    assert answer["response"] == pytest.approx(7.0, abs=0.01)
    assert answer["response_high"] - answer["response_low"] == pytest.approx(0.085, rel=0.2)


def test_the_same_seed_gives_the_same_answer(file, capsys):
    pd.DataFrame({"dose": [1.0, 2.0], "response": [4.0, 5.0]}).to_csv("trial.csv", index=False)
    arguments = (
        "query",
        "clinic.py:trial",
        "--data",
        "trial.csv",
        "--fit",
        "trial.csv",
        "--do",
        "dose=2",
        "--draws",
        "20",
    )
    assert run(capsys, *arguments) == run(capsys, *arguments)


# --- graphs and lists -------------------------------------------------------------------------------------------------


def test_graph_lists_edges_and_lonely_nodes(file, capsys):
    code, out, _ = run(capsys, "graph", "clinic.py:clinic")
    assert code == 0
    assert set(out.splitlines()) == {"age -> labs", "labs -> weight", "age -> weight", "alone"}


@pytest.mark.parametrize(("name", "opening"), [("g.svg", "<svg"), ("g.dot", "digraph")])
def test_graph_draws(file, capsys, name, opening):
    assert run(capsys, "graph", "clinic.py", "--out", name)[0] == 0
    text = (file.parent / name).read_text()
    assert opening in text
    assert "weight" in text


def test_models_lists_the_zoo(capsys):
    pcm_models = pytest.importorskip("pcm_models")
    code, out, _ = run(capsys, "models")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == pcm_models.names()


def test_help_has_examples(capsys):
    for command in ("graph", "query", "models", "demo"):
        code, out, _ = run(capsys, command, "--help")
        assert code == 0
        assert f"  pcm {command}" in out
    assert "pcm query clinic.py:clinic" in run(capsys, "--help")[1]


# --- refusals ---------------------------------------------------------------------------------------------------------

QUERY = ("query", "clinic.py:clinic", "--data", "patients.csv")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*QUERY, "--do", "lab=0"), "Did you mean 'labs'?"),
        ((*QUERY, "--do", "labs"), "NAME=VALUE"),
        ((*QUERY, "--do", "labs=0", "--do", "labs=1"), "twice"),
        ((*QUERY, "--do", "labs=0", "--outcome", "wieght"), "Did you mean 'weight'?"),
        ((*QUERY, "--do", "labs=low"), "labs"),
        ((*QUERY, "--do", "labs=0", "--out", "cf.xlsx"), "neither .csv nor .parquet"),
        ((*QUERY, "--do", "labs=0", "--out", "nowhere/cf.csv"), "folder"),
        ((*QUERY, "--do", "labs=0", "--index", "whom"), "Did you mean 'who'?"),
        ((*QUERY, "--do", "labs=0", "--fit", "trial.csv"), "'trial.csv' does not exist"),
        (("query", "clinic.py", "--data", "absent.csv", "--do", "labs=0"), "'absent.csv' does not exist"),
        (("graph", "clinic.py", "--out", "graph.gif"), "neither .svg nor .dot"),
        (("graph", "nowhere"), "not a model of the zoo"),
        (("graph", "absent.py"), "there is no file 'absent.py'"),
        (("graph", "clinic.py:clinc"), "Did you mean 'clinic'?"),
        (("demo", "--out", "nowhere/report.html"), "folder"),
        (("demo", "--out", "/"), "is a folder"),
    ],
)
def test_refusals(file, capsys, arguments, said):
    if "nowhere" in arguments:
        pytest.importorskip("pcm_models")
    before = sorted(file.parent.iterdir())
    code, out, error = run(capsys, *arguments)
    assert code == 1
    assert error.startswith("error: ")
    assert said in error
    assert "Traceback" not in out + error
    assert [path for path in sorted(file.parent.iterdir()) if path.name != "__pycache__"] == before


@pytest.mark.parametrize("arguments", [("query",), ("grahp",), (*QUERY,), (*QUERY, "--do", "labs=0", "--draws", "no")])
def test_a_line_that_cannot_be_read(file, capsys, arguments):
    code, _, error = run(capsys, *arguments)
    assert code == 2
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import pyro\n\nx = 1 / 0\n", "line 3: ZeroDivisionError: division by zero"),
        ("def f():\nreturn 1\n", "line 2: IndentationError"),
        ("import no_such_package\n", "line 1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("def outer():\n    return missing\n\nouter()\n", "line 2: NameError"),
    ],
)
def test_a_file_that_fails_names_its_line(tmp_path, source, said):
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises(ProgramError, match=r"broken\.py") as caught:
        load_program(f"{path}:program")
    assert said in str(caught.value)


def test_a_name_that_is_not_there_lists_those_that_are(file):
    with pytest.raises(ProgramError, match=r"has no 'nothing'; it defines: clinic, trial"):
        load_program("clinic.py:nothing")


def test_a_file_finds_its_neighbours(file):
    (file.parent / "neighbour_of_clinic.py").write_text("from clinic import clinic as program\n")
    assert load_program("neighbour_of_clinic.py").__name__ == "clinic"
    assert str(file.parent) not in sys.path


def test_unknown_models():
    pytest.importorskip("pcm_models")
    with pytest.raises(UnknownNameError, match="zoo"):
        load_program("nowhere")


@pytest.mark.parametrize("assignment", ["labs", "=0", "labs="])
def test_interventions_that_cannot_be_read(assignment):
    with pytest.raises(ArgumentError, match="NAME=VALUE"):
        parse_interventions([assignment])


def test_labels_beside_a_program_are_the_shells_too(tmp_path, capsys):
    """`pcm query clinic --do plan=basic` as its own help says, from CSV and Parquet to CSV and Parquet."""
    import pandas

    import pcm
    from pcm.cli import main
    from pcm_models import clinic

    patients = pcm.SCM(clinic.program, categories=clinic.categories).sample(6, seed=0)
    patients.to_csv(tmp_path / "in.csv", index=False)
    patients.to_parquet(tmp_path / "in.parquet")
    for source, target in (("in.csv", "out.parquet"), ("in.parquet", "out.csv")):
        query = ["query", "clinic", "--data", str(tmp_path / source), "--do", "plan=basic", "--outcome", "readmit"]
        with pytest.raises(SystemExit) as ended:
            main([*query, "--out", str(tmp_path / target)])
        assert ended.value.code == 0, capsys.readouterr().err
    first = pandas.read_parquet(tmp_path / "out.parquet").reset_index(drop=True)
    second = pandas.read_csv(tmp_path / "out.csv")
    assert len(first) == len(second) == 12 and abs(first["readmit"] - second["readmit"]).max() < 1e-12
