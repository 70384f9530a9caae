"""The wall clock is set back and forth while programs work."""

from __future__ import annotations

from puppets import Puppet
from work import Work, check_all

from soaking.figures import Figures
from soaking.rounds import Round

WORKERS = 2
SHIFTS = (-86_400, -3_600, -5, -0.5, 0.5, 5, 3_600, 86_400)


def run(round: Round) -> Figures:
    """Set the clocks of all programs several times; at each time some work is submitted.

    What waits for a moment waits for it again when the clock is set back, so in the end it is
    forward. The clocks are not set at the very same instant: for moments they differ, as those of
    several machines do.

    Raises:
        AssertionError: A promise was broken.
    """
    shifts = round.chance.sample(SHIFTS, 3)
    works = [
        Work(round.chance, max(1, round.size // 2), prefix=f"{number}-")
        for number, _ in enumerate(shifts)
    ]
    with round.stage() as stage:
        workers, client = stage.workers(WORKERS), stage.looker()
        for work, shift in zip(works, shifts, strict=True):
            _set_clocks([*workers, client], shift)
            work.submit(client)
            stage.hear_marks(round.chance.randint(1, work.effects // 2))
        _set_clocks([*workers, client], max(shifts))
        for work in works:
            work.finish(client)
        for puppet in [*workers, client]:
            puppet.end()
        evidence = stage.evidence()
    check_all(works, evidence, client.told("happened"))
    return Figures(
        rounds=1,
        faults=len(shifts),
        runs=len(evidence.books),
        tasks=evidence.effects,
        repeats=evidence.repeats,
        errors=sum((work.errors for work in works), start=works[0].errors),
    )


def _set_clocks(puppets: list[Puppet], seconds: float) -> None:
    for puppet in puppets:
        puppet.tell("shift", seconds=seconds)
