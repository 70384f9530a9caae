"""The primary of a PostgreSQL pair is lost, and its synchronous standby takes its place."""

from __future__ import annotations

from contextlib import closing
from time import monotonic

from puppets import Stage
from work import Work

from kallista.testing.postgres import HOST, USER, PostgresServer
from soaking.figures import Figures
from soaking.rounds import Round

WORKERS = 3
DATABASE = "kallista"


def run(round: Round) -> Figures:
    """Kill the primary amid some work, and promote the standby; programs know the way to both.

    The round has servers of its own. What it waits is the time from the kill until the next effect.

    Raises:
        AssertionError: A promise was broken.
    """
    work = Work(round.chance, round.size)
    with PostgresServer() as primary, closing(primary.standby()) as standby:
        primary.create_database(DATABASE)
        hosts = f"{HOST}:{primary.port},{HOST}:{standby.port}"
        url = f"postgresql://{USER}@{hosts}/{DATABASE}?target_session_attrs=read-write"
        with Stage(round.folder, url, {}, round.patience) as stage:
            workers, client = stage.workers(WORKERS), stage.looker()
            work.submit(client)
            stage.hear_marks(round.chance.randint(1, work.effects // 2))
            primary.kill()
            killed = monotonic()
            standby.promote()
            stage.forget_marks()
            stage.hear_marks(1)
            took = monotonic() - killed
            work.finish(client)
            for puppet in [*workers, client]:
                puppet.end()
            evidence = stage.evidence()
    work.check(evidence, client.told("happened"))
    return Figures(
        rounds=1,
        faults=1,
        runs=len(evidence.books),
        tasks=evidence.effects,
        repeats=evidence.repeats,
        waits=[took],
        errors=work.errors,
    )
