"""PostgreSQL itself stops under load, politely or not, and comes back."""

from __future__ import annotations

from time import sleep

from work import Work

from soaking.figures import Figures
from soaking.rounds import Postgres, Round

WORKERS = 3
WAYS = ("fast", "immediate", "kill")


def run(round: Round) -> Figures:
    """Restart the server several times amid some work: by a fast or immediate stop, or a kill.

    Raises:
        AssertionError: A promise was broken.
    """
    assert isinstance(round.place, Postgres)
    server, work = round.place.server, Work(round.chance, round.size)
    with round.stage() as stage:
        workers, client = stage.workers(WORKERS), stage.looker()
        work.submit(client)
        ways = round.chance.sample(WAYS, len(WAYS))
        for way in ways:
            stage.hear_marks(round.chance.randint(1, work.effects // 4))
            sleep(round.chance.uniform(0, round.jitter))
            if way == "kill":
                server.kill()
            else:
                server.stop("fast" if way == "fast" else "immediate")
            server.start()
        work.finish(client)
        for puppet in [*workers, client]:
            puppet.end()
        evidence = stage.evidence()
    work.check(evidence, client.told("happened"))
    return Figures(
        rounds=1,
        faults=len(ways),
        runs=len(evidence.books),
        tasks=evidence.effects,
        repeats=evidence.repeats,
        errors=work.errors,
    )
