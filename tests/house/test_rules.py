"""The house rules: size, names, layers, safe formats, documentation."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("pcm", "models", "tutorials", "tests", ".ci")
SOURCES = sorted(path for folder in FOLDERS[:4] for path in (ROOT / folder).rglob("*.py"))
PACKAGE = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in ("pcm", "models")]
BANNED = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
UNSAFE = re.compile(
    r"^\s*(import|from)\s+(pickle|cloudpickle|dill|joblib|shelve|marshal)\b"
    r"|\btorch\.(load|save)\(|param_store\(\)\.(load|save)\(|allow_pickle\s*=\s*True|\bread_pickle\(|\bto_pickle\(",
    re.MULTILINE,
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules_with(paths: list[Path]):
    return pytest.mark.parametrize("path", paths, ids=name_of)


def test_the_tests_see_the_sources():
    assert len(PACKAGE) > 10


def test_no_file_over_500_lines():
    sizes = {name_of(path): path.read_text("utf-8").count("\n") for path in SOURCES}
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def test_no_grab_bags():
    names = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts}
    assert [name_of(path) for path in names if path.stem.strip("_").lower() in BANNED] == []


def test_the_top_level_is_complete():
    needed = ("README.md", "LICENSE", "pyproject.toml", "constraints.txt", "Makefile", ".ci/run", "pcm/py.typed")
    assert [name for name in needed if not (ROOT / name).is_file()] == []
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_readme_has_both_commands():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make demo" in readme
    assert "make test" in readme


def test_every_version_is_pinned():
    pins = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", pin)] == []
    pinned = {pin.partition("==")[0] for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    assert {re.split(r"[\[<>=~! ]", name)[0] for name in asked} - pinned == set()


@modules_with([path for path in SOURCES if "tests" not in path.relative_to(ROOT).parts])  # tests forge such files
def test_only_safe_formats(path):
    assert UNSAFE.search(path.read_text("utf-8")) is None


@modules_with(PACKAGE)
def test_modules_are_documented(path):
    tree = ast.parse(path.read_text("utf-8"))
    package = path.name == "__init__.py"
    if package and not tree.body:
        return
    documentation = ast.get_docstring(tree)
    assert documentation, "no docstring"
    assert package or ">>>" in documentation, "no doctest"
    assert package or any("__all__" in ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)), (
        "no __all__"
    )


@modules_with(PACKAGE)
def test_what_a_module_exports_is_documented(path):
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def test_what_the_package_exports_has_an_example():
    import pcm

    without = []
    for name in pcm.__all__:
        thing = getattr(pcm, name)
        plain = isinstance(thing, type) and issubclass(thing, (Exception, Warning))
        if callable(thing) and not plain and ">>>" not in (thing.__doc__ or ""):
            without.append(name)
    assert without == []


def test_imports_only_point_back():
    done = run_python("import importlinter.cli as linter, sys; sys.exit(linter.lint_imports(no_cache=True))")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_part_has_a_layer():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    layers = set(re.findall(r"[\w.]+", " ".join(contract["layers"])))
    parts = {f"pcm.{path.stem}" for path in (ROOT / "pcm").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert {part for part in parts if not part.endswith(("__init__", "__pycache__"))} - layers == set()


def test_graph_needs_no_torch():
    for path in (ROOT / "pcm" / "graph").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (torch|pyro)\b", path.read_text("utf-8"), re.MULTILINE), path


def test_help_answers_without_the_engine():
    done = run_python("import sys, pcm.cli; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)")
    assert done.returncode == 0, "import pcm.cli must not import torch or pandas"


@pytest.mark.skipif(shutil.which("ruff", path=Path(sys.executable).parent) is None, reason="ruff is not installed")
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(command):
    done = subprocess.run(
        [Path(sys.executable).parent / "ruff", *command, "--quiet", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run_python(script: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / ".ci" / "typing")])}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
