"""The ledger's book: entries in SQLite, on disk or in memory, written whole or not at all.

A debit reads every entry, asks whether the new one can be paid, and writes it, in one transaction that locks out other
processes from its first read on (``BEGIN IMMEDIATE``) and is on disk when it returns (``synchronous = FULL``).

>>> book = Book(None)
>>> book.open({"unit": "person"})["unit"]
'person'
>>> book.append(lambda entries: None, {"name": "smoker", "event": "{}"})
1
>>> [entry.name for entry in book.entries()]
['smoker']
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pcm.errors import LedgerError

__all__ = ["Book", "Entry"]

APPLICATION = 0x70636D4C  # "pcmL", in the file's header
VERSION = 2
PATIENCE = 60.0
"""Seconds to wait for another process."""
CREATION = 2.0
"""Seconds that another process may take from an empty file to a ledger."""

_TABLES = (
    "CREATE TABLE terms (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, mechanism TEXT NOT NULL, "
    "event TEXT NOT NULL, relation TEXT NOT NULL, rows INTEGER, status TEXT NOT NULL, at TEXT NOT NULL, "
    "digest TEXT NOT NULL)",
)


@dataclass(frozen=True)
class Entry:
    """One line of a ledger; ``mechanism`` and ``event`` are JSON, ``digest`` is of all that never changes."""

    id: int
    name: str
    mechanism: str
    event: str
    relation: str
    rows: int | None
    status: str
    at: str
    digest: str = ""


class Book:
    """Terms and entries of a ledger.

    What was seen once must be there the next time: a file that was deleted, set back to an older copy or exchanged for
    another ledger under an open book is refused. A book in memory belongs to its process: in a fork its copy would
    count by itself.

    Parameters
    ----------
    path : path or None
        The file; None keeps it in memory.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        # absolute: a later change of the working directory must not lead to another file
        self.path = None if path is None else Path(path).absolute()
        self._memory = None if path is not None else _connection(":memory:")
        self._turn = threading.Lock() if self._memory is not None else nullcontext()
        self._process, self._terms, self._seen = os.getpid(), {}, 0

    @property
    def exists(self) -> bool:
        """Whether there is a file under this path already."""
        return self.path is not None and self.path.exists()

    def __getstate__(self) -> dict[str, Any]:
        if self._memory is not None:
            raise LedgerError(
                "a ledger in memory cannot be copied or sent to another process: both would spend the same budget. "
                "Give it a file: Ledger(path, …)."
            )
        return self.__dict__

    def open(self, terms: Mapping[str, Any] | None) -> dict[str, Any]:
        """The terms in the book; a new book takes those given.

        Raises
        ------
        LedgerError
            The file is damaged or no ledger.
        """
        there = self.exists
        limit = time.monotonic() + CREATION
        while there and self.path is not None and self.path.stat().st_size == 0:  # another process is at it, or none
            if time.monotonic() > limit:
                raise self._damaged("it is empty, which a ledger never is; remove the file if it never was one")
            time.sleep(0.02)
        with self._transaction() as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables and terms is not None and (not there or self.path is None):
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
                made = {**terms, "id": uuid.uuid4().hex}
                self._terms = {key: json.dumps(value) for key, value in made.items()}
                rows = [*self._terms.items(), ("digest", _digest({"terms": self._terms}))]
                connection.executemany("INSERT INTO terms VALUES (?, ?)", rows)
                return made
            marks = [connection.execute(f"PRAGMA {mark}").fetchone()[0] for mark in ("application_id", "user_version")]
            if marks[0] != APPLICATION or not {"terms", "entries"} <= tables:
                raise self._damaged("it is no ledger of pcm")
            if marks[1] != VERSION:
                raise self._damaged(f"it is of version {marks[1]}, and this pcm reads version {VERSION}")
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if sound != "ok":
                raise self._damaged(sound)
            self._terms = self._read_terms(connection)
        return {key: json.loads(value) for key, value in self._terms.items()}

    def entries(self) -> list[Entry]:
        """All entries, in order."""
        with self._transaction() as connection:
            return self._entries(connection)

    def append(self, check: Callable[[list[Entry]], None], row: Mapping[str, Any]) -> int:
        """Write an entry unless ``check`` of those before it raises; on disk when this returns. Its number."""
        made = {"mechanism": "{}", "relation": "replace", "rows": None, "status": "debited", **row, "at": _now()}
        made["digest"] = _digest(made)
        with self._transaction() as connection:
            check(self._entries(connection))
            keys = ", ".join(made)
            marks = ", ".join("?" * len(made))
            done = connection.execute(f"INSERT INTO entries ({keys}) VALUES ({marks})", list(made.values()))
            number = done.lastrowid
        assert number is not None
        self._seen = max(self._seen, number)
        return number

    def mark(self, number: int, status: str) -> None:
        """Change the status of an entry."""
        with self._transaction() as connection:
            connection.execute("UPDATE entries SET status = ? WHERE id = ?", (status, number))

    def _entries(self, connection: sqlite3.Connection) -> list[Entry]:
        """All entries, of the same ledger as before and none of them gone."""
        if self._terms and self._read_terms(connection) != self._terms:
            raise self._damaged("another ledger was put in its place since it was opened")
        found = _read(connection)
        last = found[-1].id if found else 0
        if last < self._seen or [entry.id for entry in found] != list(range(1, last + 1)):
            raise self._damaged(f"entries are gone: {len(found)} are left of {max(self._seen, last)}")
        for entry in found:
            if entry.digest != _digest({each.name: getattr(entry, each.name) for each in fields(Entry)}):
                raise self._damaged(f"entry {entry.id} is damaged, it is no longer what was written: {entry}")
        self._seen = last
        return found

    def _read_terms(self, connection: sqlite3.Connection) -> dict[str, str]:
        """The terms as they were written, each in JSON."""
        found = dict(connection.execute("SELECT key, value FROM terms").fetchall())
        if found.pop("digest", None) != _digest({"terms": found}):
            raise self._damaged(f"its terms are damaged, they are no longer what was written: {found}")
        return found

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._memory is not None and os.getpid() != self._process:
            raise LedgerError(
                "a ledger in memory belongs to the process that made it; here it is a forked copy, which would spend "
                "the same budget again. Give it a file: Ledger(path, …)."
            )
        if self._terms and self.path is not None and not self.path.exists():
            raise self._damaged("the file is gone")
        try:
            with self._turn:
                connection = self._memory or _connection(self.path)
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    try:
                        yield connection
                    except BaseException:
                        connection.rollback()
                        raise
                    connection.execute("COMMIT")
                finally:
                    if connection is not self._memory:
                        connection.close()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> LedgerError:
        return LedgerError(
            f"the ledger {self.path} cannot be read: {reason}. Nothing was released. Restore it from a backup: what "
            "was spent is known from it alone, so a new file would forget it.",
            path=str(self.path),
        )


def _connection(path: Any) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _read(connection: sqlite3.Connection) -> list[Entry]:
    names = ", ".join(each.name for each in fields(Entry))
    return [Entry(*row) for row in connection.execute(f"SELECT {names} FROM entries ORDER BY id")]


def _digest(row: Mapping[str, Any]) -> str:
    """Tells a row that was damaged: SQLite keeps no checksums, and a digit may change into another one."""
    kept = {key: value for key, value in row.items() if key not in ("id", "status", "digest")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=repr).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
