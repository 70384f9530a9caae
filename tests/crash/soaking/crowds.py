"""Many programs open one new store at the same moment, and work on it together."""

from __future__ import annotations

from work import Work, check_all

from soaking.figures import Figures
from soaking.rounds import Round

PROGRAMS = 16


def run(round: Round) -> Figures:
    """All open it, submit work of their own, share it with all others, and close it.

    Raises:
        AssertionError: A promise was broken.
    """
    works = [Work(round.chance, 1, prefix=f"{number}-") for number in range(PROGRAMS)]
    with round.stage() as stage:
        programs = [stage.waiting() for _ in works]
        for program in programs:
            program.until("ready")
        for program in programs:
            program.tell("open")
        for work, program in zip(works, programs, strict=True):
            work.submit(program)
        for work, program in zip(works, programs, strict=True):
            work.finish(program)
        for program in programs:
            program.end()
        evidence = stage.evidence()
    seen = [line for program in programs for line in program.told("happened")]
    check_all(works, evidence, seen)
    return Figures(
        rounds=1,
        faults=PROGRAMS,
        runs=len(evidence.books),
        tasks=evidence.effects,
        repeats=evidence.repeats,
        errors=sum((work.errors for work in works), start=works[0].errors),
    )
