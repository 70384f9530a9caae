"""Ids: strict where users give them, reproducible where Kallista makes them."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallista.core.ids import (
    canonical_json,
    check_id,
    child_id,
    content_hash,
    firing_id,
    idempotency_key,
    uuid7,
)
from kallista.errors import UsageError

MOMENT = 1_700_000_000_123_456


@pytest.mark.parametrize("value", ["a", "0", "create_wpf_app", "a.b:c-d_e", "x" * 200])
def test_good_ids_pass_unchanged(value: str) -> None:
    """An id is what the user wrote."""
    assert check_id(value, "workflow id") == value


@pytest.mark.parametrize(
    "value", ["", " a", "a ", "a\n", "-a", ".a", "a b", "a/b", "a@b", "ä", "٣", "x" * 201, 5, None]
)
def test_bad_ids_are_refused(value: object) -> None:
    """Nothing that could not stand in a path, a URL or a log line is an id."""
    with pytest.raises(UsageError, match="is no workflow id"):
        check_id(value, "workflow id")


def test_an_endless_id_does_not_fill_the_message() -> None:
    """The message stays readable."""
    with pytest.raises(UsageError) as caught:
        check_id("x" * 10_000, "id")
    assert len(str(caught.value)) < 250


@given(st.integers(0, 2**50), st.binary(min_size=8, max_size=16))
def test_a_uuid7_is_one(now: int, entropy: bytes) -> None:
    """Version, variant and time of RFC 9562."""
    made = UUID(uuid7(now, entropy))
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == now // 1_000


@given(st.integers(0, 2**50), st.integers(1, 10**6), st.binary(min_size=16, max_size=16))
def test_uuids_sort_by_their_moment(now: int, later: int, entropy: bytes) -> None:
    """A later microsecond sorts later, whatever the luck."""
    assert uuid7(now, entropy[:8]) < uuid7(now + later, entropy[8:])


def test_a_uuid7_needs_luck() -> None:
    """Too little entropy is a mistake of the caller."""
    with pytest.raises(ValueError, match="entropy"):
        uuid7(MOMENT, b"1234567")


def test_child_ids_name_parent_and_step() -> None:
    """A child is recognised by eye, and each generation is another run."""
    assert child_id("app", "design", 0) == "app/design"
    assert child_id("app", "design", 2) == "app/design~2"
    assert child_id("app", "design", 1) == "app/design~1"
    assert child_id("app", "design", 2) != child_id("app/design", "2", 0)


@given(st.text("ab./", max_size=300), st.text("ab", max_size=300), st.integers(0, 9))
def test_child_ids_stay_short(run: str, step: str, generation: int) -> None:
    """However deep runs are nested, an id has at most 200 characters."""
    assert len(child_id(run, step, generation)) <= 200


def test_long_child_ids_differ() -> None:
    """What is cut off still tells ids apart."""
    long = "x" * 200
    assert len({child_id(long, "a", 1), child_id(long, "b", 1), child_id(long, "a", 2)}) == 3


def test_a_firing_is_named_by_its_moment() -> None:
    """Two schedulers make the same id for the same due moment."""
    assert firing_id("nightly", 1_700_000_000_000_000) == "nightly@2023-11-14T22:13:20Z"
    assert firing_id("nightly", MOMENT) == "nightly@2023-11-14T22:13:20.123456Z"
    assert len(firing_id("x" * 200, MOMENT)) == 200


def test_made_ids_never_collide_with_given_ones() -> None:
    """A user cannot give an id that Kallista makes from others."""
    for made in (child_id("a", "b", 1), firing_id("a", MOMENT), child_id("x" * 200, "b", 1)):
        with pytest.raises(UsageError):
            check_id(made, "id")


def test_idempotency_keys_change_with_the_generation_alone() -> None:
    """The key says: this piece of work, done afresh on purpose so many times."""
    keys = {
        idempotency_key("a", "bc", 1),
        idempotency_key("ab", "c", 1),
        idempotency_key("a", "bc", 2),
    }
    assert len(keys) == 3
    assert idempotency_key("a", "bc", 1) in keys


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), json_values))
def test_the_order_of_keys_is_no_content(data: dict[str, object]) -> None:
    """Equal data have one hash."""
    turned = dict(reversed(data.items()))
    assert content_hash(data) == content_hash(turned)


def test_other_content_has_another_hash() -> None:
    """Neither a value, its type nor the order of a list is overlooked."""
    contents: list[object] = [{}, {"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": [1, 2]}, {"a": [2, 1]}]
    assert len({content_hash(content) for content in contents}) == len(contents)


def test_data_that_are_not_plain_are_refused() -> None:
    """What cannot be JSON is an error of ours."""
    with pytest.raises(UsageError, match="no plain data"):
        canonical_json({"a": object()})
