"""The command ``pcm``: graphs and counterfactuals of a program in a file or in the zoo.

Exit codes: 0 done; 1 pcm refused, with the reason on standard error; 2 the command line could not be read.

>>> parse_interventions(["labs=0", "plan=basic"])
{'labs': 0.0, 'plan': 'basic'}
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcm.errors import ArgumentError, PCMError, ProgramError, UnknownNameError, listed, suggestion

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["app", "load_program", "main", "parse_interventions"]

# What is heavy (torch, pandas, the engine) is imported inside the commands, so that --help answers at once.
app = typer.Typer(
    name="pcm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_SHOWN = 10  # rows of a table without --out

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="FILE.py:program, or a model of the zoo (see `pcm models`). The file may define `categories`, the labels "
        "of its program's variables.",
    ),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of those of the process.

    Raises
    ------
    SystemExit
        Always, with the exit code.

    Examples
    --------
    >>> main(["--no-such-option"])
    Traceback (most recent call last):
    SystemExit: 2
    """
    with warnings.catch_warnings():
        plain, warnings.formatwarning = warnings.formatwarning, lambda message, *_: f"warning: {message}\n"
        try:
            app(args=None if arguments is None else list(arguments), prog_name="pcm")
        except PCMError as error:
            typer.echo(f"error: {error}", err=True)
            raise SystemExit(1) from None
        finally:
            warnings.formatwarning = plain


def load_program(model: str) -> Any:
    """The program (or ready SCM) that a command line names.

    Parameters
    ----------
    model : str
        ``FILE.py:name``; ``FILE.py`` means its ``program``; anything else is a name of the zoo. Labels for ``program``
        are read from ``categories`` beside it, as in the zoo.

    Returns
    -------
    callable or SCM

    Raises
    ------
    ProgramError
        No such file or name in it, or the file fails when it runs (with its line).
    UnknownNameError
        No such model in the zoo.

    Examples
    --------
    >>> load_program("absent.py:clinic")
    Traceback (most recent call last):
    pcm.errors.ProgramError: there is no file 'absent.py'; give FILE.py:program, or a model of the zoo (`pcm models`).
    """
    file, colon, name = model.rpartition(":") if not model.endswith(".py") else (model, "", "program")
    if not colon and not model.endswith(".py"):
        import pcm_models

        return pcm_models.load_model(model).program
    path = Path(file)
    if not path.is_file():
        raise ProgramError(f"there is no file '{file}'; give FILE.py:program, or a model of the zoo (`pcm models`).")
    module = _run_file(path)
    if name and hasattr(module, name):
        return getattr(module, name)
    own = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    advice = suggestion(name, own) if colon else f" Say which: {file}:{own[0] if own else 'program'}."
    raise ProgramError(f"'{file}' has no '{name}'; it defines: {listed(own)}.{advice}")


def parse_interventions(assignments: Sequence[str]) -> dict[str, float | str]:
    """``NAME=VALUE`` texts as what ``do=`` takes: numbers where the value reads as one, else labels.

    Raises
    ------
    ArgumentError
        An assignment without ``=`` or with an empty side, or a name given twice.

    Examples
    --------
    >>> parse_interventions(["dose=1e-3"])
    {'dose': 0.001}
    """
    do: dict[str, float | str] = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not (name and equals and text):
            raise ArgumentError(f"--do {assignment!r} is not of the form NAME=VALUE, such as --do labs=0.")
        if name in do:
            raise ArgumentError(f"--do sets '{name}' twice; keep one.")
        try:
            do[name] = float(text)
        except ValueError:
            do[name] = text
    return do


# --- commands ---------------------------------------------------------------------------------------------------------


def _print_version(asked: bool) -> None:
    if asked:
        import pcm

        typer.echo(f"pcm {pcm.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Pyro programs as structural causal models: graphs, interventions, counterfactuals.

    \b
    Examples:
      pcm demo
      pcm graph clinic.py:clinic --out clinic.svg
      pcm query clinic.py:clinic --data patients.csv --do labs=0 --outcome readmit
    """


@app.command()
def graph(
    model: Model,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw to this .svg or .dot file.")] = None,
) -> None:
    """Print the edges of a program's graph, or draw it.

    \b
    Examples:
      pcm graph clinic.py:clinic
      pcm graph nhefs --out nhefs.svg
    """
    drawn = _scm(model).graph
    if out is not None:
        if out.suffix not in (".svg", ".dot"):
            raise ArgumentError(f"--out {str(out)!r} is neither .svg nor .dot.")
        _existing_folder(out)
        drawn.draw(out)
        typer.echo(f"wrote {out}")
        return
    for source, target, facts in drawn.edges(data=True):
        typer.echo(f"{source} -> {target}" + ("  (no numerical effect found)" if facts.get("inert") else ""))
    for node in drawn.nodes:
        if not drawn.degree(node):
            typer.echo(str(node))


@app.command()
def query(
    model: Model,
    data: Annotated[Path, typer.Option(metavar="FILE", help="What was observed, a row a unit: .csv or .parquet.")],
    do: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="Intervention; give one or more.")],
    outcome: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Variable to report; all of them if none is given.")
    ] = None,
    fit: Annotated[Path | None, typer.Option(metavar="FILE", help="Fit the parameters to this table first.")] = None,
    method: Annotated[str, typer.Option(help="How to fit: laplace, nuts, svi or map.")] = "laplace",
    draws: Annotated[int, typer.Option(min=1, help="Draws of what the data leaves open.")] = 256,
    seed: Annotated[int, typer.Option(help="Same seed, same answer.")] = 0,
    index: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of the tables that names the units.")
    ] = None,
    prob: Annotated[float, typer.Option(min=0.0, max=1.0, help="Mass of the intervals.")] = 0.9,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the answer here: .csv or .parquet.")] = None,
) -> None:
    """What would have happened to each unit of a table.

    The answer has a row for each unit in each world (factual, do): means, with an interval where something is
    uncertain; the probability of 1 for 0/1 variables and of each category for categorical ones.

    \b
    Examples:
      pcm query clinic.py:clinic --data patients.csv --do labs=0 --outcome readmit
      pcm query clinic.py:clinic --data in.parquet --do labs=0 --do plan=basic --out cf.parquet
      pcm query dose.py --data new.csv --fit trial.csv --method laplace --do dose=2 --outcome response
    """
    from pcm.io.tables import read_table, write_table

    if out is not None:
        if out.suffix.lower() not in (".csv", ".parquet", ".pq"):
            raise ArgumentError(f"--out {str(out)!r} is neither .csv nor .parquet.")
        _existing_folder(out)
    interventions = parse_interventions(do)
    patients = read_table(data, index)
    scm = _scm(model)
    if fit is not None:
        scm = scm.fit(read_table(fit, index), method=method, seed=seed)
    for name in outcome or ():
        if name not in scm.variables:
            raise UnknownNameError(name, known=list(scm.variables))
    result = scm.counterfactual(patients, do=interventions, draws=draws, seed=seed)
    answer = _answer(result, outcome or scm.variables, prob)
    if out is not None:
        write_table(answer, out)
        typer.echo(f"wrote {len(answer)} rows to {out}")
        return
    typer.echo(answer.head(_SHOWN).to_string())
    if len(answer) > _SHOWN:
        typer.echo(f"… {len(answer) - _SHOWN} more rows; --out FILE writes them all")


@app.command()
def models() -> None:
    """List the models of the zoo.

    \b
    Example:
      pcm models
    """
    import pcm_models

    listing = pcm_models.list_models()
    width = max(map(len, listing), default=0)
    for name, line in listing.items():
        typer.echo(f"{name:{width}}  {line}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the report goes.")] = Path("report.html"),
) -> None:
    """What fairness and robustness cost a hospital's predictor; what quitting smoking did to three real people.

    \b
    Examples:
      pcm demo
      pcm demo --out demo.html
    """
    _existing_folder(out)
    from pcm.report import Report
    from pcm_models import hospital_readmission, nhefs

    report = Report("pcm: two answers", "What requirements cost, and what would have happened")
    for model in (hospital_readmission, nhefs):
        typer.echo(f"{model.tell(report)}\n")
    report.to_html(out)
    typer.echo(f"Report: {out}")


# --- private ----------------------------------------------------------------------------------------------------------


def _scm(model: str) -> Any:
    program = load_program(model)
    from pcm.scm import SCM

    if isinstance(program, SCM):
        return program
    module = sys.modules.get(getattr(program, "__module__", ""))
    home = {} if module is None else vars(module)
    own = any(value is program for value in home.values())
    # the file may say which labels its program's codes have
    options = {key: home[key] for key in ("categories", "couplings") if own and key in home}
    try:
        return SCM(program, **options)
    except UnknownNameError:
        if home.get("program") is program:
            raise
        return SCM(program)  # a second program of the file: they are about the first


def _run_file(path: Path) -> Any:
    name = f"pcm_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ProgramError(f"'{path}' is no Python file; give FILE.py:program.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))  # as `python FILE.py` does, so that it finds its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else "?"
        raise ProgramError(f"'{path}', line {line}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _existing_folder(out: Path) -> None:
    if out.is_dir():
        raise ArgumentError(f"--out {str(out)!r} is a folder; name a file in it.")
    if not out.parent.is_dir():
        raise ArgumentError(f"the folder of --out {str(out)!r} does not exist; make it first.")


def _answer(result: Any, outcomes: Sequence[str], prob: float) -> pd.DataFrame:
    """The result's own table (a row a unit and world), cut to the outcomes."""
    table = result.to_dataframe(prob)
    ends = ("_low", "_high")
    columns = [
        column
        for column in table
        if any(
            column in (name, *(name + end for end in ends)) or column.startswith((f"{name}=", f"{name}["))
            for name in ("world", *outcomes)
        )
    ]
    return table[columns]
