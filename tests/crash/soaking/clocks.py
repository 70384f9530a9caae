"""The wall clock is set back and forth while programs work."""

from __future__ import annotations

from work import Work

from soaking.figures import Figures
from soaking.rounds import Round

WORKERS = 2
SHIFTS = (-86_400, -3_600, -5, -0.5, 0.5, 5, 3_600, 86_400)


def run(round: Round) -> Figures:
    """Set the clock of all programs several times, and right again in the end.

    Not at the very same instant: for moments they differ, as clocks of several machines do.

    Raises:
        AssertionError: A promise was broken.
    """
    work = Work(round.chance, round.size, recurring=False)
    with round.stage() as stage:
        workers, client = stage.workers(WORKERS), stage.looker()
        work.submit(client)
        shifts = round.chance.sample(SHIFTS, 3)
        for seconds in [*shifts, 0]:
            stage.hear_marks(round.chance.randint(1, work.effects // 5))
            for worker in workers:
                worker.tell("shift", seconds=seconds)
        work.finish(client)
        for puppet in [*workers, client]:
            puppet.end()
        evidence = stage.evidence()
    work.check(evidence, client.told("happened"))
    return Figures(
        rounds=1,
        faults=len(shifts),
        runs=len(evidence.books),
        tasks=evidence.effects,
        repeats=evidence.repeats,
        errors=work.errors,
    )
