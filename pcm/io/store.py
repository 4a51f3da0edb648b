"""One file for tensors and their description: safetensors, with JSON in its header; never pickle.

Names, order and JSON stand in the metadata of the safetensors header; tensors are stored under ``value/<name>``. The
file is written beside its place, flushed to the disk and then renamed over it, so that a crash leaves the old file
whole. A digest of all contents is checked on reading.

>>> import tempfile, torch
>>> with tempfile.TemporaryDirectory() as folder:
...     write(f"{folder}/fit.pcm", {"slope": torch.ones(2)}, {"method": "laplace"})
...     read(f"{folder}/fit.pcm")
({'slope': tensor([1., 1.])}, {'method': 'laplace'})
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcm.errors import ArgumentError, StoreError

__all__ = ["FORMAT", "VERSION", "read", "write"]

FORMAT = "pcm"
VERSION = 1
PREFIX = "value/"  # keeps a tensor called __metadata__ out of the header's own entry


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and a description to one file, whole or not at all.

    Parameters
    ----------
    path
        Where; an existing file is replaced, in one step.
    tensors
        By name, any characters; values are kept bit for bit, on the CPU and detached.
    meta
        What JSON can hold (tuples come back as lists).

    Raises
    ------
    ArgumentError
        If a tensor or ``meta`` cannot be stored; nothing has been written then.
    StoreError
        If the file cannot be written; an older file is left as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save

    path = Path(path)
    try:
        words = json.dumps(dict(meta), ensure_ascii=True)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"The description for '{path}' cannot be written as JSON: {error}. Use text, numbers, lists and dicts."
        ) from error
    plain = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ArgumentError(
                f"Tensors are stored by name; found {type(name).__name__} {name!r} with {type(tensor).__name__}."
            )
        # A clone: safetensors refuses tensors that share memory.
        plain[PREFIX + name] = tensor.detach().to("cpu").contiguous().clone()
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "names": json.dumps(list(tensors)),
        "digest": _digest(plain, words),
        "meta": words,
    }
    try:
        content = save(plain, header)
    except (SafetensorError, ValueError, KeyError, UnicodeEncodeError) as error:
        kinds = sorted({f"{tensor.dtype}" for tensor in plain.values()})
        raise ArgumentError(f"The tensors ({', '.join(kinds)}) cannot be stored in '{path}': {error}.") from error
    _replace(path, content)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, in the order they were written, and their description.

    Raises
    ------
    StoreError
        If the file is missing, is none of pcm's, is damaged, or was written by a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"'{path}' cannot be read: {error.strerror}. Check the path and its rights.", path=path
        ) from error
    header = _header(path, content)
    if header.get("format") != FORMAT:
        raise StoreError(
            f"'{path}' is a safetensors file, but of format {header.get('format')!r}, not '{FORMAT}'. "
            "Give a file written by save().",
            path=path,
        )
    try:
        version = int(header["version"])
    except (KeyError, ValueError):
        raise _damaged(path, f"its version is {header.get('version')!r}") from None
    if version > VERSION:
        raise StoreError(
            f"'{path}' has version {version} of the format, newer than {VERSION}, the newest read here. Upgrade pcm.",
            path=path,
            version=version,
        )
    try:
        plain = load(content)
        names, meta = json.loads(header["names"]), json.loads(header["meta"])
        tensors = {name: plain[PREFIX + name] for name in names}
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(path, str(error)) from error
    if _digest({PREFIX + name: tensor for name, tensor in tensors.items()}, header["meta"]) != header.get("digest"):
        raise _damaged(path, "the digest of its contents is not the one written")
    return tensors, meta


def _header(path: Path, content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    try:
        if not 2 <= length <= len(content) - 8:
            raise ValueError("the length of its header is impossible")
        header = json.loads(content[8 : 8 + length])
        metadata = header.get("__metadata__", {})
        if not isinstance(metadata, dict):
            raise ValueError("its header has no metadata")
    except (ValueError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"'{path}' ({len(content)} bytes) is no safetensors file: {error}. Give a file written by save(); if this "
            "was one, it has been damaged: restore a copy.",
            path=path,
        ) from error
    return metadata


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(f"'{path}' is damaged: {why}. Restore a copy, or fit and save again.", path=path)


def _digest(tensors: Mapping[str, Tensor], words: str) -> str:
    digest = hashlib.blake2b(words.encode(), digest_size=16)
    for name, tensor in tensors.items():
        digest.update(f"{name!r} {tensor.dtype} {tuple(tensor.shape)};".encode("utf-8", "backslashreplace"))
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        # O_EXCL with the usual mode: the file gets the rights any new file would.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"'{path}' cannot be written: {error.strerror or error}. Check that the folder exists and has room; a file "
            "of that name is as it was before.",
            path=path,
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some systems cannot open a folder; the file itself is safe already
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
