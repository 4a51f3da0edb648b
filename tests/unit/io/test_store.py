"""The store: bits kept, whole files or none, and words for every kind of wrong file."""

from __future__ import annotations

import json
import math
import os
import stat

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcm.errors import ArgumentError, StoreError
from pcm.io import store

TENSORS = {
    "double": torch.tensor([[0.1, -math.inf], [math.nan, 5e-324]], dtype=torch.float64),
    "whole": torch.tensor([2**63 - 1, -(2**63)], dtype=torch.int64),
    "flags": torch.tensor([True, False, True]),
    "scalar": torch.tensor(math.pi, dtype=torch.float64),
    "empty": torch.zeros(0, 3, dtype=torch.float64),
    "single": torch.tensor([0.1]),
}


def bits(tensor):
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def test_values_are_kept_bit_for_bit(tmp_path):
    meta = {"method": "laplace", "nested": {"a": [1, 2.5, None, True]}, "ä": "ö"}
    store.write(tmp_path / "fit.pcm", TENSORS, meta)
    tensors, found = store.read(str(tmp_path / "fit.pcm"))
    assert list(tensors) == list(TENSORS)  # the order of writing
    assert found == meta
    for name, tensor in TENSORS.items():
        assert bits(tensors[name]) == bits(tensor)
    tensors["double"][0, 0] = 1.0  # writable
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.pcm"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=5))
def test_any_name(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("names") / "x"
    given_tensors = {name: torch.tensor([index]) for index, name in enumerate(dict.fromkeys([*names, "__metadata__"]))}
    store.write(path, given_tensors, {})
    tensors, _ = store.read(path)
    assert list(tensors) == list(given_tensors)
    assert [int(tensor) for tensor in tensors.values()] == list(range(len(given_tensors)))


def test_views_shared_memory_and_gradients(tmp_path):
    whole = torch.arange(12.0, dtype=torch.float64).reshape(3, 4).requires_grad_()
    given_tensors = {"all": whole, "column": whole[:, 1], "turned": whole.T, "wide": torch.ones(1).expand(5)}
    store.write(tmp_path / "x", given_tensors, {})
    tensors, _ = store.read(tmp_path / "x")
    for name, tensor in given_tensors.items():
        assert torch.equal(tensors[name], tensor.detach()) and not tensors[name].requires_grad


def test_nothing_to_store(tmp_path):
    store.write(tmp_path / "x", {}, {})
    assert store.read(tmp_path / "x") == ({}, {})


def test_the_file_is_plain_safetensors_with_json(tmp_path):
    from safetensors import safe_open

    store.write(tmp_path / "x", {"a": torch.ones(2)}, {"k": 1})
    with safe_open(tmp_path / "x", framework="pt") as file:
        header = file.metadata()
    assert (header["format"], header["version"], json.loads(header["meta"])) == ("pcm", "1", {"k": 1})


def test_rights_are_those_of_any_new_file(tmp_path):
    store.write(tmp_path / "x", {}, {})
    (tmp_path / "y").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE((tmp_path / "y").stat().st_mode)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("exception", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_stop_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch, moment, exception):
    path = tmp_path / "fit.pcm"
    store.write(path, {"a": torch.zeros(3)}, {"old": True})

    def stop(*arguments):
        raise exception

    monkeypatch.setattr(os, moment, stop)
    expected = StoreError if isinstance(exception, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        store.write(path, {"a": torch.ones(3)}, {"old": False})
    monkeypatch.undo()
    assert store.read(path)[1] == {"old": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.pcm"]


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_killed_process_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "fit.pcm"
    store.write(path, {"a": torch.zeros(3)}, {"old": True})
    child = os.fork() if hasattr(os, "fork") else pytest.skip("needs fork")
    if child == 0:
        os.replace = lambda *arguments: os._exit(9)  # dies between the temporary file and the rename
        store.write(path, {"a": torch.ones(3)}, {"old": False})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert store.read(path)[1] == {"old": True}
    store.write(path, {"a": torch.ones(3)}, {"old": False})  # what the dead one left is in nobody's way
    assert store.read(path)[1] == {"old": False}


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "x"
    for content in (
        b"",
        b"hello",
        b"\x80\x04}\x94\x8c\x01a\x94K\x01s.",
        b"\xff" * 100,
        (10).to_bytes(8, "little") + b"[1,2,3,45]",
    ):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="is no safetensors file") as caught:
            store.read(path)
        assert caught.value.path == path
    with pytest.raises(StoreError, match=r"absent.pcm' cannot be read: No such file"):
        store.read(tmp_path / "absent.pcm")
    with pytest.raises(StoreError, match="cannot be read: Is a directory"):
        store.read(tmp_path)
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, path, {"format": "pt"})
    with pytest.raises(StoreError, match="format 'pt', not 'pcm'"):
        store.read(path)


def test_a_newer_version(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "VERSION", 2)
    store.write(tmp_path / "x", {}, {})
    monkeypatch.undo()
    with pytest.raises(StoreError, match=r"version 2 of the format, newer than 1.* Upgrade pcm") as caught:
        store.read(tmp_path / "x")
    assert caught.value.version == 2


def test_damage_anywhere_is_found(tmp_path):
    path = tmp_path / "x"
    store.write(path, {"a": torch.arange(6, dtype=torch.float64)}, {"k": 1})
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    with pytest.raises(StoreError, match="damaged"):
        store.read(path)
    flipped = bytearray(content)
    flipped[-3] ^= 1
    path.write_bytes(bytes(flipped))
    with pytest.raises(StoreError, match="damaged: the digest"):
        store.read(path)
    path.write_bytes(content.replace(b'"version":"1"', b'"version":"x"'))
    with pytest.raises(StoreError, match="damaged: its version is 'x'"):
        store.read(path)


def test_what_cannot_be_stored_is_refused_before_writing(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(ArgumentError, match="cannot be written as JSON"):
        store.write(path, {}, {"k": torch.ones(1)})
    with pytest.raises(ArgumentError, match="Tensors are stored by name; found str 'a' with list"):
        store.write(path, {"a": [1.0]}, {})  # type: ignore[dict-item]
    assert not path.exists()
    with pytest.raises(StoreError, match=r"cannot be written: No such file.*folder exists"):
        store.write(tmp_path / "nowhere" / "x", {}, {})
