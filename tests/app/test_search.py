"""Names are found while they are typed."""

from __future__ import annotations

from cellstream_app.search import MOST, Names

GENES = ["FSTL1", "GATA4", "TAL1", "T", "tbx6", "CAT"]


def test_what_is_typed_comes_first_then_what_begins_with_it_then_what_has_it():
    assert Names(GENES).matches("t") == ["T", "TAL1", "tbx6", "FSTL1", "GATA4", "CAT"]
    assert Names(GENES).matches(" Tb") == ["tbx6"]
    assert Names(GENES).matches("x9") == []


def test_of_many_the_first_are_offered_and_the_exact_one_is_among_them():
    many = [f"G{i:05d}" for i in range(5000)] + ["G"]
    assert Names(many).matches("g") == ["G", *many[: MOST - 1]]
    assert Names(many).matches("") == many[:MOST]


def test_a_name_is_known_in_either_case_its_own_first():
    assert Names(["abc", "ABC"]).called("ABC") == "ABC"
    assert Names(["abc", "ABC"]).called("Abc") == "abc"
    assert Names(GENES).called("TBX6 ") == "tbx6"
    assert Names(GENES).called("none") is None
