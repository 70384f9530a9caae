"""Amounts of money, tokens or whatever else is spent: whole billionths, so that sums are exact."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from msgspec import Struct

from kallista.core.types import Micros, RunId, RunKey, TaskType
from kallista.errors import UsageError

ONE: Final = 1_000_000_000
"""How many billionths one of a unit has."""

MOST: Final = 1_000_000_000 * ONE
"""The largest amount that can be spent at once, or be a budget."""

COUNTED: Final = 8 * MOST
"""Up to where a budget counts exactly what is spent of it; stores keep 64 bits."""


def read_amount(value: object) -> int:
    """An amount in billionths.

    Args:
        value: A number of any kind, or a text like ``"0.12"``; a float counts as it is written.
            Finer fractions are rounded half to even.

    Raises:
        UsageError: It is none, or negative, or larger than a billion.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise UsageError(f"an amount is a number, or a text like '0.12', not {value!r}")
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
        is_within = 0 <= amount <= MOST // ONE
    except (InvalidOperation, ValueError):
        raise UsageError(f"an amount is a number, or a text like '0.12', not {value!r}") from None
    if not is_within:
        raise UsageError(f"an amount is from 0 to {MOST // ONE:,}, not {amount:.12g}")
    return round(amount * ONE)


def exact(billionths: int) -> Decimal:
    """An amount as a decimal number, without needless zeros."""
    amount = (Decimal(billionths) / ONE).normalize()
    return amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else amount


class Spent(Struct, frozen=True, gc=False):
    """What an attempt has spent, told by its handler.

    Args:
        run: Whose attempt it is.
        step: Of which step.
        attempt: Which attempt.
        number: The how manieth line of the attempt it is, from 0 on: so it counts once.
        unit: Of what.
        amount: How much, in billionths.
        type: The task type.
        at: When.
    """

    run: RunKey
    step: int
    attempt: int
    number: int
    unit: str
    amount: int
    type: TaskType
    at: Micros


class Share(NamedTuple):
    """How much of a budget is spent, in billionths of its unit."""

    spent: int
    limit: int

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left."""
        return self.spent >= self.limit

    def told(self, unit: str) -> str:
        """The same for people."""
        return f"{exact(self.spent)} {unit} spent of {exact(self.limit)}"


class Budgets(Struct, frozen=True, gc=False):
    """The budgets that hold for a run.

    Args:
        own: Of its own, by unit.
        above: The first one that is used up of those of the runs above it: whose, and which.
    """

    own: Mapping[str, Share]
    above: tuple[RunId, str, Share] | None = None

    def raised(self, limits: Mapping[str, int]) -> Budgets:
        """The same with other limits of its own."""
        own = {unit: Share(it.spent, limits.get(unit, it.limit)) for unit, it in self.own.items()}
        return Budgets(own, self.above)

    @property
    def used_up(self) -> Mapping[str, Share]:
        """Those of its own of which nothing is left."""
        return {unit: share for unit, share in self.own.items() if share.is_used_up}

    @property
    def allow(self) -> bool:
        """Whether something may begin."""
        return self.above is None and not self.used_up
