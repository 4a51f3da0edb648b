"""The ledger's book: entries in SQLite, on disk or in memory, written whole or not at all.

A debit reads every entry, asks whether the new one can be paid, and writes it, in one transaction that locks out other
processes from its first read on (``BEGIN IMMEDIATE``) and is on disk when it returns (``synchronous = FULL``).

>>> book = Book(None)
>>> book.open({"unit": "person"})
{'unit': 'person'}
>>> book.append(lambda entries: None, {"name": "smoker", "event": "{}"})
1
>>> [entry.name for entry in book.entries()]
['smoker']
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pcm.errors import LedgerError

__all__ = ["Book", "Entry"]

APPLICATION = 0x70636D4C  # "pcmL", in the file's header
VERSION = 1
PATIENCE = 60.0
"""Seconds to wait for another process."""

_TABLES = (
    "CREATE TABLE terms (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, mechanism TEXT NOT NULL, "
    "event TEXT NOT NULL, relation TEXT NOT NULL, rows INTEGER, status TEXT NOT NULL, at TEXT NOT NULL)",
)


@dataclass(frozen=True)
class Entry:
    """One line of a ledger; ``mechanism`` and ``event`` are JSON."""

    id: int
    name: str
    mechanism: str
    event: str
    relation: str
    rows: int | None
    status: str
    at: str


class Book:
    """Terms and entries of a ledger.

    Parameters
    ----------
    path : path or None
        The file; None keeps it in memory.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self._memory = None if path is not None else _connection(":memory:")

    @property
    def exists(self) -> bool:
        """Whether there is a book under this path already."""
        return self.path is not None and self.path.exists() and self.path.stat().st_size > 0

    def open(self, terms: Mapping[str, Any] | None) -> dict[str, Any]:
        """The terms in the book; a new book takes those given.

        Raises
        ------
        LedgerError
            The file is damaged or no ledger.
        """
        with self._transaction() as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables and terms is not None:
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
                rows = [(key, json.dumps(value)) for key, value in terms.items()]
                connection.executemany("INSERT INTO terms VALUES (?, ?)", rows)
                return dict(terms)
            marks = [connection.execute(f"PRAGMA {mark}").fetchone()[0] for mark in ("application_id", "user_version")]
            if marks[0] != APPLICATION or not {"terms", "entries"} <= tables:
                raise self._damaged("it is no ledger of pcm")
            if marks[1] != VERSION:
                raise self._damaged(f"it is of version {marks[1]}, and this pcm reads version {VERSION}")
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if sound != "ok":
                raise self._damaged(sound)
            found = dict(connection.execute("SELECT key, value FROM terms").fetchall())
        try:
            return {key: json.loads(value) for key, value in found.items()}
        except (TypeError, ValueError) as error:
            raise self._damaged(str(error)) from None

    def entries(self) -> list[Entry]:
        """All entries, in order."""
        with self._transaction() as connection:
            return _read(connection)

    def append(self, check: Callable[[list[Entry]], None], row: Mapping[str, Any]) -> int:
        """Write an entry unless ``check`` of those before it raises; on disk when this returns. Its number."""
        made = {"mechanism": "{}", "relation": "replace", "rows": None, "status": "debited", **row, "at": _now()}
        with self._transaction() as connection:
            check(_read(connection))
            keys = ", ".join(made)
            marks = ", ".join("?" * len(made))
            done = connection.execute(f"INSERT INTO entries ({keys}) VALUES ({marks})", list(made.values()))
            number = done.lastrowid
        assert number is not None
        return number

    def mark(self, number: int, status: str) -> None:
        """Change the status of an entry."""
        with self._transaction() as connection:
            connection.execute("UPDATE entries SET status = ? WHERE id = ?", (status, number))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
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
        except sqlite3.Error as error:
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
