"""Retries: how long, how often and for what, decided without a clock or luck."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallista.core.durations import LONGEST
from kallista.core.retry import RetryPolicy, delay_before, noise, parse_retry, retryable
from kallista.core.types import Micros
from kallista.errors import DefinitionError

SECOND = 1_000_000


def seconds(amount: float) -> Micros:
    """So many seconds."""
    return Micros(int(amount * SECOND))


def test_nothing_is_retried_unless_asked_for() -> None:
    """The default is one attempt."""
    assert parse_retry(None) == RetryPolicy() == RetryPolicy(max_attempts=1)


def test_a_number_is_a_number_of_attempts() -> None:
    """The short form counts the first attempt."""
    assert parse_retry(3) == RetryPolicy(max_attempts=3)


def test_every_key_is_read() -> None:
    """A whole policy, with lengths as users write them and a single name as a text."""
    policy = parse_retry(
        {
            "max_attempts": 5,
            "delay": "2s",
            "backoff": 3,
            "max_delay": "PT1M",
            "jitter": 0.25,
            "retry_on": ["TimeoutError", "httpx.HTTPError"],
            "give_up_on": "ValueError",
        }
    )
    assert policy == RetryPolicy(
        max_attempts=5,
        delay=seconds(2),
        backoff=3.0,
        max_delay=seconds(60),
        jitter=0.25,
        retry_on=("TimeoutError", "httpx.HTTPError"),
        give_up_on=("ValueError",),
    )
    assert parse_retry(policy) is policy


def test_all_problems_are_reported_at_once() -> None:
    """Each wrong key is named; an unknown one gets the nearest name."""
    with pytest.raises(DefinitionError) as caught:
        parse_retry(
            {
                "max_attempts": 0,
                "delay": "soon",
                "backoff": 0.5,
                "jitter": 2,
                "retry_on": ["not a name"],
                "max_attemps": 3,
            }
        )
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "retry.max_attemps",
        "retry.max_attempts",
        "retry.delay",
        "retry.backoff",
        "retry.jitter",
        "retry.retry_on",
    ]
    assert "'max_attempts'" in caught.value.problems[0]


@pytest.mark.parametrize("data", [True, "3", 0, -1, 2.5, [], {"backoff": 10**400}])
def test_what_is_no_policy_is_refused(data: object) -> None:
    """No text, bool or fraction is taken for a number of attempts."""
    with pytest.raises(DefinitionError):
        parse_retry(data)


def test_pauses_grow_up_to_the_limit() -> None:
    """The first attempt is never delayed, then each pause is a multiple of the one before."""
    policy = RetryPolicy(max_attempts=9, delay=seconds(1), backoff=2.0, max_delay=seconds(5))
    assert [delay_before(policy, attempt, 0.0) for attempt in range(1, 7)] == [
        0,
        seconds(1),
        seconds(2),
        seconds(4),
        seconds(5),
        seconds(5),
    ]


def test_jitter_cuts_a_share_off() -> None:
    """Jitter only ever shortens, by at most its fraction."""
    policy = RetryPolicy(max_attempts=3, delay=seconds(10), jitter=0.5)
    assert delay_before(policy, 2, 0.0) == seconds(10)
    assert delay_before(policy, 2, 0.5) == seconds(7.5)


@given(
    st.integers(0, LONGEST),
    st.floats(1, 1e300),
    st.none() | st.integers(0, LONGEST),
    st.floats(0, 1),
    st.integers(1, 10**9),
    st.floats(0, 1, exclude_max=True),
)
def test_no_pause_overflows(
    delay: int, backoff: float, max_delay: int | None, jitter: float, attempt: int, luck: float
) -> None:
    """Whatever the policy and the attempt, the pause lies between zero and its limit."""
    limit = None if max_delay is None else Micros(max_delay)
    policy = RetryPolicy(10**6, Micros(delay), backoff, limit, jitter)
    assert 0 <= delay_before(policy, attempt, luck) <= (LONGEST if limit is None else limit)


@given(st.text(), st.text(), st.integers(1, 10**6))
def test_noise_is_a_fraction_and_always_the_same(run: str, task: str, attempt: int) -> None:
    """The same decision made twice has the same luck."""
    luck = noise(run, task, attempt)
    assert 0 <= luck < 1
    assert noise(run, task, attempt) == luck


def test_noise_differs_between_tasks_and_attempts() -> None:
    """Tasks that failed together don't return together, even where their ids run together."""
    lucks = {noise("a", "bc", 1), noise("ab", "c", 1), noise("a", "bc", 2), noise("b", "bc", 1)}
    assert len(lucks) == 4


@pytest.mark.parametrize(
    ("retry_on", "give_up_on", "expected"),
    [
        ((), (), True),
        (("OSError",), (), True),
        (("builtins.OSError",), (), True),
        (("TimeoutError",), (), True),
        (("ValueError",), (), False),
        ((), ("TimeoutError",), False),
        ((), ("Exception",), False),
        (("TimeoutError",), ("OSError",), False),
        (("other.TimeoutError",), (), False),
    ],
)
def test_names_choose_what_is_retried(
    retry_on: tuple[str, ...], give_up_on: tuple[str, ...], expected: bool
) -> None:
    """Short or qualified names of the class or a base decide, and giving up wins."""
    kinds = ["builtins.TimeoutError", "builtins.OSError", "builtins.Exception"]
    policy = RetryPolicy(3, retry_on=retry_on, give_up_on=give_up_on)
    assert retryable(policy, kinds) is expected
