"""Trees for ArviZ: names of axes that cannot clash."""

from __future__ import annotations

import numpy as np

from pcm.io.arviz import data_tree, free_dims, to_arviz


def test_names_of_axes():
    shapes = {"w": (2, 3), "v": (3,), "u": (4,), "row": (2,), "square": (2, 2), "chainlike": (5,), "bare": (1, 1)}
    named = {
        "w": ("row", "column"),
        "v": ("column",),
        "u": ("column",),
        "square": ("k", "k"),
        "chainlike": ("chain",),
    }
    dims = free_dims(shapes, named)
    assert dims["w"] == ("w_dim_0", "column")  # row is the name of an array
    assert dims["v"] == ("column",)
    assert dims["u"] == ("u_dim_0",)  # column has length 3
    assert dims["square"] == ("square_dim_0", "square_dim_1")
    assert dims["chainlike"] == ("chainlike_dim_0",)
    assert dims["bare"] == ("bare_dim_0", "bare_dim_1")


def test_tree_and_back():
    array = np.arange(6.0).reshape(1, 3, 2)
    tree = data_tree(
        {"posterior": {"layer/w": (("chain", "draw", "side"), array)}, "sample_stats": {}},
        coords={"side": ["left", "right"]},
        attrs={"method": "x"},
    )
    assert list(tree.children) == ["posterior"]
    data = to_arviz(tree)
    np.testing.assert_array_equal(data.posterior["layer|w"].to_numpy(), array)
    assert data.posterior["side"].to_numpy().tolist() == ["left", "right"]
    assert data.posterior["draw"].to_numpy().tolist() == [0, 1, 2]
    assert data.posterior.attrs["method"] == "x"
