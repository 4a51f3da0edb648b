"""The README: its programs run, its numbers are what they print, its commands exist and answer as shown."""

from __future__ import annotations

import ast
import io
import os
import re
import shlex
import tokenize
from pathlib import Path

import numpy as np
import pytest

import pcm
from pcm.cli import app, main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))
SHELL = [line.removeprefix("$ ") for kind, text in FENCES if kind in ("sh", "console") for line in text.splitlines()]
CLAIM = re.compile(r"[-\d\[(]|True\b|False\b|[^:]*: -?\d")
"""How a comment begins that says what its line prints."""


def fenced(kind: str) -> list[str]:
    return [text for name, text in FENCES if name == kind]


def claims(block: str) -> dict[int, str]:
    """Comments that say what a line prints, by line."""
    tokens = tokenize.generate_tokens(io.StringIO(block).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return {line: text for line, text in comments.items() if CLAIM.match(text)}


def test_programs_print_what_their_comments_say():
    names: dict = {}
    checked = []
    for block in fenced("python"):
        said = claims(block)
        for node in ast.parse(block).body:
            if not isinstance(node, ast.Expr):
                exec(compile(ast.Module([node], []), "README.md", "exec"), names)
                continue
            value = eval(compile(ast.Expression(node.value), "README.md", "eval"), names)
            claim = said.pop(node.end_lineno or 0, None)
            if claim is not None:
                printed = repr(value.item() if isinstance(value, np.generic) else value)
                assert claim.startswith(printed), f"README says {claim!r}, and it prints {printed}"
                checked.append(claim)
        assert said == {}, "a number stands beside a line that prints nothing"
    assert any(claim.startswith("ATE of labs on readmit: 0.") for claim in checked)


def test_the_first_screen_is_short():
    (first, *_) = fenced("python")
    assert len([line for line in first.splitlines() if line.strip()]) <= 16


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {name for text in SHELL + SPANS for name in re.findall(r"\bmake(?: [A-Z]+=\S+)* ([a-z][a-z-]*)", text)}
    assert {"demo", "test", "bench"} <= named
    assert named - targets == set()


def test_commands_exist():
    commands = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    named = {match[1] for text in SHELL + SPANS if (match := re.match(r"(?:\.venv/bin/)?pcm ([a-z]+)", text))}
    assert commands == named


def test_modules_exist():
    modules = {name for text in SHELL + SPANS for name in re.findall(r"python -m ([\w.]+)", text)}
    assert modules
    assert [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []


def test_tutorials_and_models_are_all_listed():
    import pcm_models

    tutorials = {f"tutorials/{path.name}" for path in (ROOT / "tutorials").glob("*.py")}
    assert set(re.findall(r"^- `(tutorials/\w+\.py)`", README, re.MULTILINE)) == tutorials
    assert set(re.findall(r"^\| `(\w+)` \| .* \|$", README, re.MULTILINE)) == set(pcm_models.list_models())


def test_shell_examples_answer_as_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = 0
    for block in fenced("console"):
        for command, *shown in (part.splitlines() for part in block.split("$ ")[1:]):
            words = shlex.split(command)
            if words[0] == "cat":
                (tmp_path / words[1]).write_text("\n".join(shown) + "\n", "utf-8")
            elif shown and words[0] == "pcm":
                with pytest.raises(SystemExit):
                    main(words[1:])
                out, err = capsys.readouterr()
                assert [line.split() for line in (out + err).splitlines()] == [line.split() for line in shown]
                ran += 1
    assert ran > 0
    assert os.listdir(tmp_path)


def test_the_verdict_prints_what_is_shown():
    from pcm_models.hospital_readmission import fair, program, robust

    (shown,) = [text for text in fenced("text") if text.startswith("Verdict")]
    assert shown.rstrip("\n") == repr(pcm.check(pcm.SCM(program), [fair, robust]))


@pytest.mark.slow
def test_the_demo_prints_what_is_shown(tmp_path):
    from pcm_models import nhefs

    printed = nhefs.demo(tmp_path / "report.html").splitlines()
    (shown,) = [text.splitlines() for text in fenced("text") if text.startswith("NHEFS")]
    assert [line for line in printed if line.strip() and not line.startswith("Report:")] == [x for x in shown if x]
