from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cellstream.errors import UserError
from cellstream.time_labels import shortened
from cellstream.times import (
    SECONDS,
    UNITS,
    guess_label_keys,
    guess_time_keys,
    looks_like_label_name,
    looks_like_time_name,
    parse_time,
    read_time_map,
    read_times,
)
from tests.model.corpus import one_sentence

# How people write times, by unit; {} is the number.
PATTERNS = {
    "min": ["{} min", "{}min", "{} minutes", "min {}", "minute_{}"],
    "h": ["{}h", "{} hours", "{}hr", "{} hrs", "h{}", "hpf{}", "{}hpf", "{} hpi", "Hour {}", "ZT{}"],
    "d": [
        "day {}",
        "d{}",
        "D{}",
        "Day_{}",
        "DAY{}",
        "{}d",
        "{} d",
        "{} days",
        "day={}",
        "E{}",
        "e{}",
        "P{}",
        "PND{}",
        "{}dpf",
    ],
    "week": ["week {}", "w{}", "{} weeks", "{}wk", "{} pcw", "GW{}"],
    "month": ["month {}", "{} months", "{}mo"],
    "year": ["year {}", "{} yr", "{}y"],
    "s": ["{} s", "{} sec", "{}seconds"],
    "": ["{}", "t{}", "T{}", "t={}", "time {}", "timepoint_{}", "Time Point {}", "tp{}"],
}
numbers = st.one_of(st.integers(0, 10_000), st.decimals(0, 1000, places=2)).map(str)


@settings(deadline=None)  # the machine may be busy
@given(
    st.sampled_from([(unit, p) for unit, ps in PATTERNS.items() for p in ps]), numbers, st.sampled_from(["", " ", "  "])
)
def test_a_formatted_time_reads_back(pattern, number, blank):
    unit, form = pattern
    assert parse_time(blank + form.format(number) + blank) == (float(number), unit)


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from(["day -{}", "-{} d", "-{}", "t = -{}"]), st.integers(1, 99))
def test_minus_with_a_space_before_it_is_a_minus(form, number):
    assert parse_time(form.format(number))[0] == -number


AMBIGUOUS = ("0d_rm", "5m", "m5", "d-1", "day-7", "day.3", "D.14", "3 d + dox", "1,5 h", "d3-d5", "3 3", "1_0", "3x")
NO_TIME = (
    "",
    "  ",
    "nan",
    "inf",
    "1e400",
    "control",
    "iPSC",
    "S1",
    "G2M",
    "bin0",
    "stage 3",
    "HH10",
    "rep1",
    "day",
    "0x10",
)


@pytest.mark.parametrize("text", AMBIGUOUS + NO_TIME)
def test_what_is_ambiguous_or_no_time_is_not_read(text):
    assert parse_time(text) is None


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=30))
def test_any_text_gives_a_finite_time_or_none(text):
    reading = parse_time(text)
    assert reading is None or (np.isfinite(reading[0]) and reading[1] in UNITS)


def obs(**columns):
    return pd.DataFrame(columns)


def test_mixed_units_become_the_finest():
    times = read_times(obs(t=["3d", "8h", "1d", "0d", "8h"]), "t")
    assert times.labels == ("0d", "8h", "1d", "3d")
    np.testing.assert_array_equal(times.values, [0, 8, 24, 72])
    np.testing.assert_array_equal(times.index, [3, 1, 2, 0, 1])
    np.testing.assert_array_equal(times.counts, [1, 2, 1, 1])
    assert (times.unit, times.key) == ("h", "t")
    assert times.index.dtype == np.int64
    assert times.values.dtype == np.float64
    assert times.note == "Read '3d' in column 't' as 72 h."


def test_a_zero_asks_for_no_unit():
    assert read_times(obs(t=["0 min", "1 d", "7 d"]), "t").unit == "d"
    np.testing.assert_array_equal(read_times(obs(t=["0", "8h", "1d"]), "t").values, [0, 8, 24])


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.tuples(st.integers(1, 500), st.sampled_from(["min", "h", "d", "week"])), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
)
def test_conversion_keeps_durations(times, random):
    seconds = {f"{number} {unit}": number * SECONDS[unit] for number, unit in times}
    assume(len(set(seconds.values())) == len(seconds) >= 2)
    column = list(seconds) * 2
    random.shuffle(column)
    read = read_times(obs(t=column), "t")
    assert list(read.labels) == sorted(seconds, key=seconds.get)
    np.testing.assert_allclose(read.values * SECONDS[read.unit], sorted(seconds.values()), rtol=1e-12)
    assert [read.labels[i] for i in read.index] == column
    assert (np.diff(read.values) > 0).all()


@pytest.mark.parametrize(
    ("column", "values", "labels", "index"),
    [
        ([2, 0, 1, 0], [0, 1, 2], ("0", "1", "2"), [2, 0, 1, 0]),
        ([1.5, 2.0, np.nan, 0.0], [0, 1.5, 2], ("0", "1.5", "2"), [1, 2, -1, 0]),
        (np.array([0.1, 0.3, 0.1], np.float32), [0.1, 0.3], ("0.1", "0.3"), [0, 1, 0]),
        (pd.Categorical([3, 1, 3], categories=[1, 2, 3]), [1, 3], ("1", "3"), [1, 0, 1]),
        (pd.Categorical(["d10", "d2", None], categories=["d10", "d2", "d3"]), [2, 10], ("d2", "d10"), [1, 0, -1]),
        (pd.Categorical(["d2", "d10"], categories=["d2", "d10"], ordered=True), [2, 10], ("d2", "d10"), [0, 1]),
        (pd.array([1, None, 2], dtype="Int64"), [1, 2], ("1", "2"), [0, -1, 1]),
        (["d1", "NA", "d2", "nan", "", "None"], [1, 2], ("d1", "d2"), [0, -1, 1, -1, -1, -1]),
        ([0, "d2", None, "d1"], [0, 1, 2], ("0", "d1", "d2"), [0, 2, -1, 1]),
        ([b"d1", b"d2"], [1, 2], ("d1", "d2"), [0, 1]),
        (["E8.5", "E10", "E9.5"], [8.5, 9.5, 10], ("E8.5", "E9.5", "E10"), [0, 2, 1]),
        (pd.to_timedelta(["0h", "8h", "3d"]), [0, 1 / 3, 3], None, [0, 1, 2]),
        (pd.to_timedelta(["0min", "90min", "1h"]), [0, 60, 90], None, [0, 2, 1]),
        (pd.to_datetime(["2024-03-01", "2024-02-28", None, "2024-03-05"]), [0, 2, 6], None, [1, 0, -1, 2]),
        (["2024-03-01", "2024-02-28"], [0, 2], ("2024-02-28", "2024-03-01"), [1, 0]),
    ],
)
def test_every_kind_of_column(column, values, labels, index):
    times = read_times(obs(time=column), "time")
    np.testing.assert_allclose(times.values, values, rtol=1e-12)
    np.testing.assert_array_equal(times.index, index)
    assert labels is None or times.labels == labels
    assert times.counts.sum() == sum(i >= 0 for i in index)
    assert times.note.endswith(".")


@pytest.mark.parametrize(
    ("key", "unit"), [("day", "d"), ("time_h", "h"), ("age_weeks", "week"), ("hpf", "h"), ("time", ""), ("t", "")]
)
def test_a_columns_name_tells_the_unit_of_its_numbers(key, unit):
    assert read_times(obs(**{key: [0, 1, 2]}), key).unit == unit
    assert read_times(obs(**{key: ["0", "1", "2"]}), key).unit == unit


def test_long_fractions_are_shortened_where_they_stay_apart():
    hours = np.array([0.0, 22.46333333333, 48.123456789])
    read = read_times(pd.DataFrame({"day": np.repeat(hours / 24, 2)}), "day")
    assert read.labels == ("0", "0.935972", "2.005144")
    given = read_times(pd.DataFrame({"day": np.repeat(hours / 24, 2)}), "day", {"0": 1, "0.935972": 2, "2.005144": 4})
    assert given.values.tolist() == [1, 2, 4]
    assert shortened(["1234567.12345678", "5"]) == ("1234567.123457", "5")
    assert read.values.tolist() == (hours / 24).tolist()
    near = read_times(pd.DataFrame({"day": np.repeat([0.93597222, 0.93597223], 2)}), "day")
    assert near.labels == ("0.93597222", "0.93597223")


def test_one_time_written_in_two_ways_is_one_time_point():
    times = read_times(obs(t=["Day 1", "day_1", "day 2"]), "t")
    np.testing.assert_array_equal(times.index, [0, 0, 1])
    assert "one time point" in times.note


def test_a_mapping_takes_the_place_of_reading():
    column = ["late", "early", "odd", "late", None]
    times = read_times(obs(t=column), "t", {"early": 0, "late": 2.5, "odd": float("nan"), "unused": 9})
    np.testing.assert_array_equal(times.values, [0, 2.5])
    np.testing.assert_array_equal(times.index, [1, 0, -1, 1, -1])
    numeric = read_times(obs(t=[0, 1, 2.0]), "t", {0: 0, 1.0: 8, "2": 24})
    np.testing.assert_array_equal(numeric.values, [0, 8, 24])


BAD = {
    "continuous": (np.linspace(0, 1, 300), None, ["300", "bins"]),
    "names": ([f"AACG{i}" for i in range(300)], None, ["300"]),
    "one time point": (["d1", "d1"], None, ["one time point", "'d1'"]),
    "nothing": ([None, None], None, ["empty"]),
    "bool": ([True, False], None, ["True and False"]),
    "bool categories": (pd.Categorical([True, False]), None, ["True and False"]),
    "infinite": ([0.0, np.inf], None, ["infinite"]),
    "unreadable": (["d0", "0d_rm", "ctrl"], None, ["'0d_rm', 'ctrl'", "say for each label what time it is"]),
    "E and P": (["E8.5", "P0"], None, ["'E8.5', 'P0'", "different starts", "say for each label"]),
    "E and day": (["E8.5", "day 9"], None, ["different starts"]),
    "hpf and hpi": (["24hpf", "24hpi"], None, ["different starts"]),
    "unit and none": (["1", "8h"], None, ["Label '1'", "has no unit", "say for each label"]),
    "units and none": (["1", "2", "8h"], None, ["Labels '1', '2'", "have no unit"]),
    "same time": (["24h", "1d", "2d"], None, ["'24h', '1d'", "24 h", "rename them alike"]),
    "lists": ([[1], [2]], None, ["lists"]),
    "mapping lacks": (["a", "b"], {"a": 1}, ["No time is given for 'b'"]),
    "mapping repeats": (["a", "b", "c"], {"a": 1, "b": 1, "c": 2}, ["'a', 'b'", "mean 1"]),
    "mapping infinite": (["a", "b"], {"a": 1, "b": np.inf}, ["'b'", "inf"]),
    "mapping of text": (["a", "b"], {"a": 1, "b": "soon"}, ["'b'", "soon"]),
    "mapping leaves one": (["a", "b"], {"a": 1, "b": np.nan}, ["one time point"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_column_gets_one_sentence(case):
    column, mapping, words = BAD[case]
    with one_sentence(*words):
        read_times(obs(t=column), "t", mapping)


def test_a_missing_column_names_the_likely_ones():
    with one_sentence("No column 'day' in obs. Columns that look like time: 'Day'"):
        read_times(obs(Day=["d0", "d1"] * 2, kind=["a", "b"] * 2), "day")
    with one_sentence("'kind'", "none looks like time"):
        read_times(obs(kind=["a", "b"]), "day")
    with one_sentence("no columns"):
        read_times(pd.DataFrame(index=["a"]), "day")
    twice = pd.DataFrame([[0, 1], [1, 2]], columns=["day", "day"])
    with one_sentence("2 columns named 'day'"):
        read_times(twice, "day")


def many(**columns):
    return pd.DataFrame({key: list(values) * 20 for key, values in columns.items()})


def test_the_time_column_is_found():
    columns = {
        "leiden": "0 1 2 3",
        "patient": "P1 P2 P3 P1",
        "sample": "d0 d3 d7 d7",
        "cell_type": "A B A C",
        "Day": "d0 d3 d7 d7",
        "stage": "early early late late",
        "line": "H9 H1 H9 H1",
    }
    frame = many(**{key: text.split() for key, text in columns.items()}, batch=[1, 2, 1, 2], ok=[True, False] * 2)
    frame["pseudotime"] = np.linspace(0, 1, len(frame)).round(1)
    frame["barcode"] = [f"c{i}" for i in range(len(frame))]
    guesses = guess_time_keys(frame)
    assert [guess.key for guess in guesses] == ["Day", "sample", "stage"]
    assert all(0 < guess.score <= 1 for guess in guesses)
    assert guesses[0].reason == "3 time points from d0 to d7"
    assert guesses[2].reason.endswith("need values")
    labels = [guess.key for guess in guess_label_keys(frame)]
    assert labels[0] == "cell_type"
    assert set(labels) == {"cell_type", "leiden", "ok", "batch", "patient", "line"}


@pytest.mark.parametrize(
    "name", ["time", "Time", "time_point", "timePoint", "Day", "hpf", "collectionTime", "stage", "age", "t"]
)
def test_names_of_time(name):
    assert looks_like_time_name(name)


@pytest.mark.parametrize(
    "name", ["pseudotime", "dpt_pseudotime", "latent_time", "TP53", "AGER", "T", "HR", "cell_type", "lineage", 3]
)
def test_names_of_other_things(name):
    assert not looks_like_time_name(name)


def test_names_of_labels():
    assert all(map(looks_like_label_name, ["leiden", "cell_type", "cellType", "Batch", "sample"]))
    assert not any(map(looks_like_label_name, ["GAPDH", "x1", "time"]))


@pytest.mark.parametrize(
    "text",
    ["label,value\nd0,0\nd7,7.5\nodd,nan\n", "d0;0\nd7;7.5\nodd;nan", "\ufeffd0\t0\r\n\r\nd7\t7.5\r\nodd\tnan\r\n"],
)
def test_a_time_map_reads_with_or_without_header(tmp_path, text):
    (tmp_path / "map.csv").write_bytes(text.encode())
    mapping = read_time_map(tmp_path / "map.csv")
    assert list(mapping) == ["d0", "d7", "odd"]
    np.testing.assert_array_equal(list(mapping.values()), [0, 7.5, np.nan])


words = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1)


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(words, st.floats(allow_nan=False), min_size=1))
def test_a_time_map_round_trips(tmp_path_factory, mapping):
    path = tmp_path_factory.mktemp("map") / "map.csv"
    pd.DataFrame({"label": list(mapping), "value": list(mapping.values())}).to_csv(path, index=False)
    assert read_time_map(path) == mapping


@pytest.mark.parametrize("text", ["", "label,value\n", "a,b,c\n", "a,1\nb,soon\n", "a,1\na,2\n", "alone\n"])
def test_a_bad_time_map_gets_one_sentence(tmp_path, text):
    (tmp_path / "map.csv").write_text(text)
    with one_sentence("map.csv"):
        read_time_map(tmp_path / "map.csv")


def test_a_time_map_that_is_no_file(tmp_path):
    with one_sentence("No file"):
        read_time_map(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with one_sentence("binary.csv"):
        read_time_map(tmp_path / "binary.csv")
    with pytest.raises(UserError):
        read_time_map(tmp_path)
