"""The services of an engine go on, whatever one thing in them does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import tzinfo

import pytest
from world import MemoryWorld, World, ids

from kallista import Cron, Every
from kallista.core import triggers, wall_clock
from kallista.core.types import Micros
from kallista.engine.alarm import TRY_AGAIN_AFTER, Alarm, repeat
from kallista.errors import StoreError, UsageError
from kallista.store.memory import MemoryStore
from kallista.store.port import WorkerRecord
from kallista.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

ELSEWHERE = "Pacific/Apia"
NOTE = {"type": "note"}


def note() -> None:
    """Do nothing."""


def paint(color: str) -> None:
    """Take a parameter."""


def without(zone: str) -> Callable[[str], tzinfo]:
    """What finds all zones but one."""
    found = wall_clock.zone_named

    def zone_named(name: str) -> tzinfo:
        if name == zone:
            raise UsageError(f"no time zone is called {name!r} here")
        return found(name)

    return zone_named


async def test_a_service_outlives_a_mistake(mistakes: list[logging.LogRecord]) -> None:
    """What fails unexpectedly is said with its place in the code, and done again a moment later."""
    clock = FakeClock()
    alarm = Alarm(clock)
    turns: list[int] = []

    async def once() -> Micros | None:
        turns.append(clock.now())
        if len(turns) == 1:
            raise KeyError("unexpected")
        return None

    service = asyncio.ensure_future(repeat(once, alarm, clock, "counting"))
    alarm.ring()
    await clock.settle()
    await clock.advance(TRY_AGAIN_AFTER / 1e6)
    service.cancel()
    assert turns[1] - turns[0] == TRY_AGAIN_AFTER
    assert "counting failed" in mistakes.pop().getMessage()


async def test_one_schedule_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One whose zone this machine does not know is left alone, said once, and can be looked at."""
    app = await world.app(note)
    await app.scheduler.schedule_task("there", NOTE, trigger=Cron("* * * * *", ELSEWHERE))
    await app.scheduler.schedule_task("here", NOTE, trigger=Every("1m"))
    with monkeypatch.context() as patch:
        patch.setattr(triggers, "zone_named", without(ELSEWHERE))
        await world.passes(150)
        listed = {item.id: item for item in (await app.scheduler.list_schedules()).items}
        assert (listed["here"].fired, listed["there"].fired) == (3, 0)
        assert listed["there"].trigger == f"cron * * * * * ({ELSEWHERE})"
        assert caplog.text.count("'there' cannot be fired here") == 1
    await world.passes(1)
    assert (await app.scheduler.get_schedule("there")).fired == 1


async def test_clients_know_what_a_worker_takes(world: World) -> None:
    """As soon as a worker is there, clients without its code know the keys of its task types."""
    await world.app(note, paint)
    client = await world.app(worker=False)
    with pytest.raises(UsageError, match="colour"):
        await client.scheduler.schedule_task("p", {"type": "paint", "config": {"colour": "red"}})


async def test_one_task_type_hides_no_other(world: World) -> None:
    """Where one type's hints cannot be resolved, clients are told the keys of all all the same."""

    def puzzle(piece: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Have a hint that names nothing."""

    await world.app(puzzle, paint)
    client = await world.app(worker=False)
    for type, key in (("paint", "colour"), ("puzzle", "peace")):
        with pytest.raises(UsageError, match=f"no key '{key}'"):
            await client.scheduler.schedule_task("p", {"type": type, "config": {key: "red"}})


class BlindStore(MemoryStore):
    """Cannot tell who else is there."""

    async def workers(self) -> Sequence[WorkerRecord]:
        """Fail."""
        raise StoreError("cannot read")


async def test_who_cannot_start_leaves_nothing_behind() -> None:
    """A program that fails while it starts holds no work and is no worker any more."""
    async with MemoryWorld() as world:
        first = await world.app(note, worker=False)
        await first.scheduler.schedule_task("t", NOTE)
        with pytest.raises(StoreError, match="cannot read"):
            await world.app(note, store=BlindStore(world.state))
        assert [worker.name for worker in await first.workers()] == []
        worker = await world.app(note)
        await world.settle()
        assert ids((await worker.scheduler.list_tasks(status="completed")).items) == ["t"]
