"""Who renews a lease, and for how long, when the event loop is too busy to."""

from __future__ import annotations

from kallista.store.pulse import Pulse


class Seconds:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        """Seconds since the start."""
        return self.passed


def test_the_writer_renews_only_when_the_program_is_late() -> None:
    """Each renewal, by whomever, gives as much time as the first; a late one is due at once."""
    now = Seconds()
    pulse = Pulse(every=15, longest=300, now=now)
    now.passed = 10
    assert pulse.wait == 5
    pulse.asked()
    assert pulse.wait == 15
    now.passed = 27
    assert pulse.wait == 0
    pulse.renewed()
    assert pulse.wait == 15


def test_a_loop_that_never_comes_back_is_given_up() -> None:
    """What is blocked for ever is taken over by others, unless it comes back after all."""
    now = Seconds()
    pulse = Pulse(every=15, longest=300, now=now)
    now.passed = 299
    pulse.renewed()
    assert pulse.wait == 15
    now.passed = 300
    assert pulse.wait is None
    pulse.asked()
    assert pulse.wait == 15
