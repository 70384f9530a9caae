"""Gives those who wait on the event loop what their requests came to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeAlias

from kallista.errors import KallistaError

Answer: TypeAlias = Any
"""What a request's future is to hold; a ``KallistaError`` is to be raised."""


def resolve(future: asyncio.Future[Any], answer: Answer) -> None:
    """Answer one of them, unless it waits no more."""
    if future.done():
        return
    if isinstance(answer, KallistaError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def resolve_all(answers: Iterable[tuple[asyncio.Future[Any], Answer]]) -> None:
    """Answer many of them in one call of the loop."""
    for future, answer in answers:
        resolve(future, answer)
