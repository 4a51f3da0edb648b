"""The ledger between processes: no overspending, and never a release without a debit on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pcm import private
from pcm.private.book import Book

ROOT = Path(__file__).parents[3]
RR = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])


def start(script: str, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_processes_at_once_cannot_overspend(tmp_path) -> None:
    path = str(tmp_path / "budget.sqlite")
    private.Ledger(path, epsilon=3.0)
    script = """
        import sys
        from pcm import private
        from pcm.errors import BudgetError
        ledger = private.Ledger(sys.argv[1], epsilon=3.0)
        rr = private.RandomizedResponse(epsilon=0.5, categories=[0, 1])
        rr.measurement, rr.event
        print("ready", flush=True)
        sys.stdin.readline()
        paid = 0
        for k in range(6):
            try:
                rr.release([0, 1, 1], ledger, name=f"{sys.argv[2]}{k}")
                paid += 1
            except BudgetError:
                pass
        print(paid)
    """
    racing = [start(script, path, name) for name in "ab"]
    for process in racing:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in racing:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    done = [process.communicate(timeout=120) for process in racing]
    assert [process.returncode for process in racing] == [0, 0], done
    assert sum(int(out) for out, _ in done) == 6
    ledger = private.Ledger(path)
    assert ledger.spent == pytest.approx(3.0) and (ledger.statement()["status"] == "released").all()


@pytest.mark.parametrize("when", ["after the debit", "before the commit"])
def test_killed_in_a_release(tmp_path, when) -> None:
    """kill -9 between debit and noise: spent, nothing released. In the transaction: nothing at all."""
    path = str(tmp_path / "budget.sqlite")
    private.Ledger(path, epsilon=3.0)
    script = """
        import sys, time
        from pcm import private
        from pcm.private import book

        def wait(*_):
            print("here", flush=True)
            time.sleep(600)

        if sys.argv[2] == "after the debit":
            private.RandomizedResponse.draw = wait
        else:
            take = book.Book.append
            def slow(self, check, row):  # the lock is held, the row not yet written
                return take(self, lambda entries: (check(entries), wait()), row)
            book.Book.append = slow
        rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
        print(rr.release([0, 1], private.Ledger(sys.argv[1]), name="smoker").values.tolist(), flush=True)
    """
    process = start(script, path, when)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    entries = [] if when == "before the commit" else [entry.status for entry in Book(path).entries()]
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    assert rest == "" and process.returncode == -signal.SIGKILL
    ledger = private.Ledger(path)
    found = ledger.statement()["status"].tolist()
    if when == "after the debit":
        assert entries == found == ["debited"] and ledger.spent == pytest.approx(1.0)
    else:
        assert found == [] and ledger.spent == 0.0
    RR.release([0, 1], ledger, name="again")  # the file is as good as before
