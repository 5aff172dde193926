"""Curves from the platform's CSV: exact, whatever the pieces; tables and frames."""

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import client
import client.http
from client.curves import Curve, Curves, from_csv
from client.errors import BadInput

TEXT = 'key,step,value\na,1,0.1\na,3,nan\na,4,-inf\n"b,\u2028""x",3,1e-320\n'


@given(st.lists(st.integers(0, len(TEXT)), max_size=8))
def test_any_pieces_give_the_same_curves(cuts):
    edges = [0, *sorted(cuts), len(TEXT)]
    curves = from_csv(TEXT[a:b] for a, b in itertools.pairwise(edges))
    assert list(curves) == ["a", 'b,\u2028"x']
    np.testing.assert_array_equal(curves["a"].steps, [1, 3, 4])
    np.testing.assert_array_equal(curves["a"].values, [0.1, np.nan, -np.inf])
    assert curves['b,\u2028"x'].values.tolist() == [1e-320]
    assert curves["a"].steps.dtype == np.int64


def test_no_points_are_no_curves():
    assert from_csv(["key,step,value\n"]) == {}
    assert list(Curves().table()) == ["step"]


def test_one_table_of_all_curves():
    curves = Curves(a=Curve(np.array([1, 3]), np.array([0.5, 0.25])), b=Curve(np.array([2, 3]), np.array([7.0, 8.0])))
    frame = curves.to_pandas().reset_index()
    assert list(frame.columns) == ["step", "a", "b"]
    np.testing.assert_array_equal(frame["step"].to_numpy(), [1, 2, 3])
    np.testing.assert_array_equal(frame["a"].to_numpy(), [0.5, np.nan, 0.25])
    np.testing.assert_array_equal(frame["b"].to_numpy(), [np.nan, 7, 8])


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadInput, match="pip install pandas"):
        Curves().to_pandas()


def test_the_package_gives_the_client_and_nothing_else():
    assert client.Client is client.http.Client
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        client.Server  # noqa: B018
