"""Data in and out by name: what is read, what is refused, what comes back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcm.errors import ArgumentError, DataError, StoreError, UnknownNameError
from pcm.io import Column, element_names, read_evidence, read_table, row_ids, write_frame, write_table

AGE, DOSE, SITE = Column("age"), Column("dose"), Column("site", discrete=True, dtype=torch.long)
PLAN = Column("plan", discrete=True, categories=("none", "basic", "full"), dtype=torch.long)
SPOT = Column("spot", event_shape=(2,))


def frame(**columns):
    return pd.DataFrame(columns, index=pd.Index(["ann", "bob", "cyd"], name="who"))


def refused(data, *columns, **options) -> DataError:
    with pytest.raises(DataError) as caught:
        read_evidence(data, columns, **options)
    return caught.value


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"site": [0, 1, 2], "age": [1.5, 2.5, 3.5]}, id="lists"),
        pytest.param({"site": np.arange(3, dtype=np.int8), "age": np.array([1.5, 2.5, 3.5], ">f4")}, id="arrays"),
        pytest.param({"site": torch.arange(3), "age": torch.tensor([1.5, 2.5, 3.5], requires_grad=True)}, id="tensors"),
        pytest.param({"site": torch.arange(3), "age": torch.tensor([1.5, 2.5, 3.5]).bfloat16()}, id="bfloat16"),
        pytest.param(
            {"site": pd.array([0, 1, 2], dtype="Int64"), "age": pa.array([1.5, 2.5, 3.5])}, id="extension arrays"
        ),
        pytest.param({"site": (0.0, 1.0, 2.0), "age": pd.Index([1.5, 2.5, 3.5])}, id="tuples"),
        pytest.param(pd.DataFrame({"age": [1.5, 2.5, 3.5], "junk": "x", "site": [0, 1, 2]}), id="frame"),
        pytest.param(pd.DataFrame({"age": [1.5, 2.5, 3.5], "site": [0, 1, 2]}, dtype=object), id="objects"),
        pytest.param(pd.DataFrame({"age": [1.5, 2.5, 3.5], "site": [0, 1, 2]}, dtype="Float64"), id="nullable"),
        pytest.param(
            pd.DataFrame({"age": [1.5, 2.5, 3.5], "site": [0, 1, 2]}, dtype="double[pyarrow]"), id="arrow frame"
        ),
        pytest.param(pd.DataFrame({"age": [1.5, 2.5, 3.5], "site": [0, 1, 2]}, dtype="category"), id="categoricals"),
        pytest.param(pd.DataFrame(np.array([[0, 1.5], [1, 2.5], [2, 3.5]]), columns=["site", "age"]), id="block"),
        pytest.param(pa.table({"site": [0, 1, 2], "age": [1.5, 2.5, 3.5]}), id="arrow table"),
        pytest.param(pa.record_batch({"site": [0, 1, 2], "age": [1.5, 2.5, 3.5]}), id="record batch"),
    ],
)
@pytest.mark.parametrize("share", [False, True])
def test_every_kind_of_table_reads_the_same(data, share):
    evidence = read_evidence(data, [AGE, DOSE, SITE], share=share)
    assert evidence.missing == ("dose",)
    assert evidence.holes == {}
    assert len(evidence) == 3
    torch.testing.assert_close(
        evidence.values["age"], torch.tensor([1.5, 2.5, 3.5], dtype=torch.float64), rtol=0, atol=0
    )
    assert evidence.values["site"].dtype is torch.long
    assert evidence.values["site"].tolist() == [0, 1, 2]


def test_the_index_names_the_units():
    assert read_evidence(frame(age=[1, 2, 3]), [AGE]).index.tolist() == ["ann", "bob", "cyd"]
    series = frame(age=[1, 2, 3])["age"]
    assert read_evidence({"dose": [0, 0, 0], "age": series}, [AGE, DOSE]).index.tolist() == ["ann", "bob", "cyd"]
    assert read_evidence(pa.Table.from_pandas(frame(age=[1, 2, 3])), [AGE]).index.tolist() == ["ann", "bob", "cyd"]
    assert read_evidence({"age": [1, 2]}, [AGE]).index.equals(pd.RangeIndex(2))
    assert read_evidence(pd.DataFrame({"age": [1, 2]}, index=[7, 7]), [AGE]).index.tolist() == [7, 7]


def test_scalars_stand_for_every_unit():
    assert read_evidence({"age": 40, "plan": "full"}, [AGE, PLAN]).values["plan"].tolist() == [2]
    assert read_evidence({"age": [40, 50], "site": True}, [AGE, SITE]).values["site"].tolist() == [1, 1]
    assert read_evidence({"age": torch.tensor(40.0)}, [AGE]).values["age"].tolist() == [40.0]


@pytest.mark.parametrize(
    ("cells", "holes"),
    [
        ([1.0, np.nan, 3.0], [False, True, False]),
        ([1, None, 3], [False, True, False]),
        (pd.array([1, pd.NA, 3], dtype="Int64"), [False, True, False]),
        (pd.array([1, 2, None], dtype="double[pyarrow]"), [False, False, True]),
        (pd.Categorical([1.0, np.nan, 3.0]), [False, True, False]),
    ],
)
def test_empty_cells_are_holes(cells, holes):
    evidence = read_evidence(frame(age=cells, site=cells), [AGE, SITE])
    assert evidence.holes["age"].tolist() == evidence.holes["site"].tolist() == holes
    assert evidence.values["age"].isnan().tolist() == holes
    assert evidence.values["site"][torch.tensor(holes)].tolist() == [0]


def test_holes_of_labels_and_vectors():
    data = frame(plan=["full", None, "none"]).assign(**{"spot[0]": [1, 2, np.nan], "spot[1]": [4.0, 5.0, 6.0]})
    evidence = read_evidence(data, [PLAN, SPOT])
    assert {name: hole.tolist() for name, hole in evidence.holes.items()} == {
        "plan": [False, True, False],
        "spot": [False, False, True],
    }
    assert evidence.values["plan"].tolist() == [2, 0, 0]


def test_huge_finite_numbers_are_no_holes():
    evidence = read_evidence({"age": [1e300, -1e300, 5e-324]}, [AGE])
    assert evidence.holes == {}
    assert evidence.values["age"].tolist() == [1e300, -1e300, 5e-324]


@pytest.mark.parametrize(
    "labels",
    [
        ["full", "none", "full"],
        pd.Categorical(["full", "none", "full"], categories=["unused", "full", "none"]),
        pd.array(["full", "none", "full"], dtype="string"),
        np.array(["full", "none", "full"], dtype=object),
        [2, 0, 2],
        [2.0, 0.0, 2.0],
        pd.array([2, 0, 2], dtype="Int8"),
    ],
)
def test_labels_become_codes(labels):
    assert read_evidence(frame(plan=labels), [PLAN]).values["plan"].tolist() == [2, 0, 2]
    assert read_evidence({"plan": labels}, [PLAN]).values["plan"].tolist() == [2, 0, 2]


def test_numbers_are_labels_where_a_category_is_a_number():
    grade = Column("grade", categories=(10, 20, 0), dtype=torch.long)
    assert read_evidence({"grade": [0, 10, 20.0]}, [grade]).values["grade"].tolist() == [2, 0, 1]
    yes = Column("yes", categories=(False, True))
    assert read_evidence({"yes": [True, False]}, [yes]).values["yes"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    "data",
    [
        {"spot": np.array([[1.0, 2.0], [3.0, 4.0]])},
        {"spot": [[1, 2], [3, 4]]},
        {"spot": torch.tensor([[1.0, 2.0], [3.0, 4.0]])},
        {"spot[1]": [2, 4], "spot[0]": [1, 3]},
        pd.DataFrame({"spot[1]": [2, 4], "spot[0]": [1, 3]}),
        pd.DataFrame({"spot": [[1, 2], np.array([3, 4])]}),
        pa.table({"spot": [[1.0, 2.0], [3.0, 4.0]]}),
    ],
)
def test_vector_sites(data):
    assert read_evidence(data, [SPOT]).values["spot"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_tensors_do_not_see_later_writes():
    data = pd.DataFrame({"age": [1.0, 2.0], "dose": [3.0, 4.0]})
    for share in (False, True):
        values = read_evidence(data, [AGE, DOSE], share=share).values
        data.loc[0, "age"] = values["age"][0].item() + 98.0
        data.iloc[1, 1] = -1.0
        assert values["age"][0] == data.loc[0, "age"] - 98.0
        assert values["dose"][0] == 3.0
    own = np.array([1.0, 2.0])
    values = read_evidence({"age": own}, [AGE]).values["age"]
    values += 1
    assert own.tolist() == [1.0, 2.0]


def test_sharing_copies_nothing():
    array = np.arange(3.0)
    assert read_evidence({"age": array}, [AGE], share=True).values["age"].data_ptr() == array.ctypes.data
    data = frame(age=array)
    view = read_evidence(data, [AGE], share=True).values["age"]
    assert view.data_ptr() == data["age"].to_numpy().ctypes.data


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "NoneType"),
        ([{"age": 1}], "list"),
        (np.zeros((3, 2)), "ndarray"),
        (pd.Series([1.0]), "frame.loc"),
        ("patients.csv", "str"),
        ({}, "empty"),
        ({"age": []}, "no rows"),
        (pd.DataFrame({"age": []}), "no rows"),
        (pd.DataFrame(), "no rows"),
        (pa.table({"age": pa.array([], pa.float64())}), "no rows"),
        (pd.DataFrame([[1, 2]], columns=["age", "age"]), "more than one column named 'age'"),
        (
            pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["age", "age"]),
            "more than one column named 'age'",
        ),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("age", "x")])), "2 levels"),
        ({"age": [1, 2], "dose": [1, 2, 3]}, "age: 2, dose: 3"),
        ({"age": [1, 2], "dose": [1]}, "unequal"),
        ({"income": [1]}, "none of the columns"),
        ({"age": [1, 2], "dose": [[1], [2, 3]]}, "cannot be made an array"),
        ({"age": frame(a=[1, 2, 3])["a"], "dose": pd.Series([1, 2, 3])}, "another index"),
    ],
)
def test_no_table(data, said):
    assert said in str(refused(data, AGE, DOSE))


def test_a_repeated_column_that_nobody_reads_is_ignored():
    data = pd.DataFrame([[1, 2, 3]], columns=["age", "junk", "junk"])
    assert read_evidence(data, [AGE]).values["age"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("cells", "said", "rows"),
    [
        (["1", "x", "3"], "text", ["ann", "bob", "cyd"]),
        (np.array([1, "x", 3], dtype=object), "'x'", ["bob"]),
        (np.array([1, {}, 3], dtype=object), "type dict", ["bob"]),
        ([1.0, np.inf, -np.inf], "infinite", ["bob", "cyd"]),
        ([np.nan, np.inf, 0.0], "infinite", ["bob"]),
        (np.array([1j, 2, 3]), "complex", None),
        (pd.to_datetime(["2020-01-01"] * 3), "dates", None),
        (pd.to_datetime(["2020-01-01"] * 3, utc=True), "dates", None),
        (pd.to_timedelta([1, 2, 3], "s"), "time spans", None),
        (pd.Categorical(["a", "b", "a"]), "text", ["ann", "bob", "cyd"]),
    ],
)
@pytest.mark.parametrize("column", [AGE, Column("age", dtype=torch.long)])
def test_cells_that_are_no_numbers(cells, said, rows, column):
    error = refused(frame(age=cells), column, what="data")
    assert said in str(error)
    assert "'age' of the data" in str(error)
    assert error.column == "age"
    assert error.rows == rows


def test_text_asks_for_labels():
    assert "categories={'age'" in str(refused(frame(age=["a", "b", "c"]), AGE))
    assert "categories={'age'" in str(refused({"age": ["a", "b", None]}, AGE))


def test_whole_numbers():
    error = refused(frame(site=[0.0, 1.5, 1.0]), SITE)
    assert "1.5" in str(error)
    assert error.rows == ["bob"]


def test_an_unlisted_label_names_everything():
    for cells in (
        ["none", "ful", "none"],
        pd.Categorical(["none", "ful", "none"]),
        np.array(["none", "ful", 3], object),
    ):
        error = refused(frame(plan=cells), PLAN)
        assert error.column == "plan"
        assert error.rows[0] == "bob"
        assert error.value == "ful"
        for said in ("'plan'", "'bob'", "'ful'", "'none', 'basic', 'full'", "Did you mean 'full'?"):
            assert said in str(error)


@pytest.mark.parametrize("cells", [[0, 1, 3], [0, -1, 2], [0.0, 0.5, 1.0], [0, np.inf, 1]])
def test_codes_out_of_range(cells):
    assert "'plan'" in str(refused(frame(plan=cells), PLAN))


def test_numbers_beside_labels_that_read_as_numbers_are_ambiguous():
    column = Column("grade", categories=("1", "2"))
    assert "label or a code" in str(refused({"grade": [1, 2]}, column))
    assert read_evidence({"grade": ["2", "1"]}, [column]).values["grade"].tolist() == [1.0, 0.0]
    assert refused(frame(grade=["1", "2", "2"]), Column("grade", categories=(1, 2))).rows == ["ann", "bob", "cyd"]


def test_many_bad_rows_are_counted():
    error = refused(pd.DataFrame({"age": np.full(100, np.inf)}), AGE)
    assert "0, 1, 2, 3, 4, … (95 more)" in str(error)
    assert len(error.rows) == 100


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"spot": [1.0, 2.0]}, "shape (2,)"),
        ({"spot": np.zeros((2, 3))}, "shape (3,)"),
        ({"spot[0]": [1.0]}, "spot[1]"),
        ({"spot": np.zeros((1, 2)), "spot[0]": [1.0]}, "beside"),
        (pd.DataFrame({"spot": [[1, 2], [1, 2, 3]]}), "row 1"),
        (pd.DataFrame({"spot": [[1, 2], "x"]}), "text"),
    ],
)
def test_vectors_of_the_wrong_shape(data, said):
    assert said in str(refused(data, SPOT))


def test_a_matrix_for_a_scalar_site():
    assert "shape (2,)" in str(refused({"age": np.zeros((3, 2))}, AGE))


@pytest.mark.parametrize("extra", ["Dose", "DOSE", "doze", "doses", "odse", " dose "])
def test_a_misspelt_column_is_refused(extra):
    data = {"age": [1.0], extra: [2.0]}
    error = refused(data, AGE, DOSE)
    assert error.column == extra
    assert "Did you mean 'dose'?" in str(error)
    assert read_evidence(data, [AGE, DOSE], ignore_extra=True).missing == ("dose",)


@pytest.mark.parametrize("extra", ["dose2", "close", "income", "dosage_mg", 7])
def test_other_columns_are_ignored(extra):
    assert read_evidence({"age": [1.0], extra: [2.0]}, [AGE, DOSE]).missing == ("dose",)


def test_short_names_differ():
    assert read_evidence({"x": [1.0], "z": [1.0]}, [Column("x"), Column("y")]).missing == ("y",)


def test_a_category_listed_twice():
    with pytest.raises(ArgumentError, match="'plan' list 'a' twice"):
        Column("plan", categories=("a", "b", "a"))


# --- what comes back --------------------------------------------------------------------------------------------------


@given(
    age=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    data=st.data(),
)
def test_reading_undoes_writing(age, data):
    n = len(age)
    columns = [AGE, SITE, PLAN, Column("grid", event_shape=(2, 2))]
    codes = st.lists(st.integers(0, 2), min_size=n, max_size=n)
    values = {
        "age": np.array(age),
        "site": np.array(data.draw(codes)),
        "plan": np.array(data.draw(codes)),
        "grid": np.arange(4.0 * n).reshape(n, 2, 2),
    }
    index = pd.Index([f"unit {k}" for k in range(n)])
    written = write_frame(values, columns, index)
    assert list(written) == ["age", "site", "plan", "grid[0,0]", "grid[0,1]", "grid[1,0]", "grid[1,1]"]
    evidence = read_evidence(written, columns)
    assert evidence.index.equals(index)
    for name, array in values.items():
        np.testing.assert_array_equal(evidence.values[name].numpy(), array)


def test_frames_speak_labels_and_whole_numbers():
    written = write_frame({"plan": torch.tensor([2.0, torch.nan]), "site": np.array([1.0, 0.0])}, [SITE, PLAN])
    assert list(written) == ["site", "plan"]
    assert written["plan"].tolist()[0] == "full"
    assert written["plan"].isna().tolist() == [False, True]
    assert written["site"].dtype == np.int64
    fraction = write_frame({"site": np.array([0.5, np.nan])}, [SITE])["site"]
    assert fraction.iloc[0] == 0.5
    assert element_names(SPOT) == ["spot[0]", "spot[1]"]


def test_writing_another_shape_is_refused():
    with pytest.raises(DataError, match="'spot' has event shape"):
        write_frame({"spot": np.zeros(3)}, [SPOT])


# --- row ids ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(5, 0, -1),
        pd.Index([5, -3, 2, 10**12, 0]),
        pd.Index([0.5, 2.0, -1.25, np.nan, 7.0]),
        pd.Index(list("abcde")),
        pd.Index(["a", 1, ("x", 2), None, 2.5], dtype=object),
        pd.date_range("2020", periods=5),
        pd.date_range("2020", periods=5, tz="Europe/Zurich"),
        pd.period_range("2020", periods=5, freq="M"),
        pd.CategoricalIndex(list("abcde")),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)]),
    ],
    ids=lambda index: type(index).__name__ + str(index.dtype),
)
def test_ids_do_not_depend_on_order_or_partition(index):
    ids = row_ids(index)
    assert ids.dtype == np.uint64
    assert len(set(ids.tolist())) == 5
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_array_equal(row_ids(index[order]), ids[order])
    np.testing.assert_array_equal(np.concatenate([row_ids(index[:2]), row_ids(index[2:])]), ids)


def test_equal_labels_of_different_containers_have_equal_ids():
    np.testing.assert_array_equal(row_ids(pd.RangeIndex(4)), row_ids(pd.Index([0, 1, 2, 3], dtype="int32")))
    np.testing.assert_array_equal(row_ids(pd.RangeIndex(4)), row_ids(pd.Index([0.0, 1.0, 2.0, 3.0])))
    np.testing.assert_array_equal(row_ids(pd.Index(["a", "b"])), row_ids(pd.Index(["a", "b"], dtype=object)))
    np.testing.assert_array_equal(row_ids(pd.Index(["a", "b"])), row_ids(pd.CategoricalIndex(["a", "b"])))


def test_repeated_labels_are_told_apart_by_occurrence():
    ids = row_ids(pd.Index(["a", "b", "a", "a"]))
    assert len(set(ids.tolist())) == 4
    np.testing.assert_array_equal(ids[[0, 1]], row_ids(pd.Index(["a", "b"])))
    np.testing.assert_array_equal(ids[[0, 2, 3, 1]], row_ids(pd.Index(["a", "a", "a", "b"])))


# --- tables on disk ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_come_back(tmp_path, suffix):
    data = frame(age=[0.1, 1 / 3, np.nan], plan=["a", None, "b"], site=[1, 2, 3])
    path = tmp_path / f"table.{suffix}"
    write_table(data, path)
    pd.testing.assert_frame_equal(read_table(path, index="who"), data)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    write_table(data.reset_index(drop=True), path)
    pd.testing.assert_frame_equal(read_table(path), data.reset_index(drop=True))


def test_a_failed_write_leaves_the_old_table(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(frame(age=[1, 2, 3]), path)
    with pytest.raises(StoreError, match="cannot be written"):
        write_table(frame(age=np.array([1, "x", {}], dtype=object)), path)
    assert read_table(path)["age"].tolist() == [1, 2, 3]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_tables_that_cannot_be_read(tmp_path):
    with pytest.raises(ArgumentError, match="neither"):
        read_table(tmp_path / "table.xlsx")
    with pytest.raises(StoreError, match="does not exist"):
        read_table(tmp_path / "table.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        read_table(tmp_path / "folder.csv")
    for name in ("empty.csv", "empty.parquet"):
        (tmp_path / name).touch()
        with pytest.raises(StoreError, match="cannot be read as"):
            read_table(tmp_path / name)
    (tmp_path / "twice.csv").write_text("age,age\n1,2\n")
    with pytest.raises(DataError, match="more than one column named 'age'"):
        read_table(tmp_path / "twice.csv")
    (tmp_path / "good.csv").write_text("age,who\n1,ann\n")
    with pytest.raises(UnknownNameError, match="Did you mean 'who'"):
        read_table(tmp_path / "good.csv", index="whom")
