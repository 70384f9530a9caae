"""Workers are frozen for longer than their lease while others go on, and wake up again."""

from __future__ import annotations

from time import sleep

from puppets import Puppet, Stage
from work import Work

from soaking.figures import Figures
from soaking.rounds import Round

WORKERS = 3
LEASE = 2.0


def run(round: Round) -> Figures:
    """Freeze a worker or two amid some work; they wake up once the others have done it all.

    A handler that was frozen goes on for a moment when it wakes up, so its effect may come late,
    once; it counts for nothing.

    Raises:
        AssertionError: A promise was broken.
    """
    work = Work(round.chance, round.size)
    with round.stage({"KALLISTA_LEASE": str(LEASE)}) as stage:
        workers, client = stage.workers(WORKERS), stage.looker()
        work.submit(client)
        stage.hear_marks(round.chance.randint(1, work.effects // 2))
        sleep(round.chance.uniform(0, round.jitter))
        frozen = _freeze_some(round, stage, workers)
        work.finish(client)
        before = stage.evidence()
        for worker in frozen:
            worker.thaw()
        for puppet in [*workers, client]:
            puppet.end()
        evidence = stage.evidence()
    work.check(evidence, client.told("happened"), late=True)
    assert evidence.books == before.books, "one that had been frozen has changed something"
    return Figures(
        rounds=1,
        faults=len(frozen),
        runs=len(evidence.books),
        tasks=evidence.effects,
        repeats=evidence.repeats,
        errors=work.errors,
    )


def _freeze_some(round: Round, stage: Stage, workers: list[Puppet]) -> list[Puppet]:
    """Freeze workers, but not amid a write: that keeps all others waiting.

    In a file as long as it lasts. In PostgreSQL for 10 s when the server waits for the next group
    of statements, which it may do in a soak; as long as it lasts when amid a group.
    """
    while True:
        frozen = round.chance.sample(workers, round.chance.randint(1, WORKERS - 1))
        for worker in frozen:
            worker.freeze()
        if round.place.can_be_written(stage.url, LEASE / 4, patient=round.jitter > 0):
            return frozen
        for worker in frozen:
            worker.thaw()
