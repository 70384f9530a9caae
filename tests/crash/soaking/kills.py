"""Workers are killed at random instants while they work on everything there is."""

from __future__ import annotations

from random import Random
from time import sleep, time
from typing import NamedTuple

from evidence import Evidence
from puppets import Puppet, Stage
from work import Work

from soaking.figures import Figures
from soaking.rounds import Round

WORKERS = 3


class Kill(NamedTuple):
    """When so many workers were killed, and whether others were there to go on."""

    at: float
    victims: int
    survived: bool


def run(round: Round) -> Figures:
    """Let workers share some work, and kill some of them, one or all at once.

    Raises:
        AssertionError: A promise was broken.
    """
    work = Work(round.chance, round.size)
    with round.stage() as stage:
        workers, client = stage.workers(WORKERS), stage.looker()
        work.submit(client)
        kills: list[Kill] = []
        heard = 0
        for moment in _moments(round.chance, work.effects):
            stage.hear_marks(moment - heard)
            heard = moment
            sleep(round.chance.uniform(0, round.jitter))
            kills.append(_kill_some(stage, workers, round.chance))
        _fill_up(stage, workers)
        work.finish(client)
        for puppet in [*workers, client]:
            puppet.end()
        evidence = stage.evidence()
    work.check(evidence, client.told("happened"))
    victims = sum(kill.victims for kill in kills)
    _check_attempts(evidence, victims)
    return Figures(
        rounds=1,
        faults=victims,
        runs=len(evidence.books),
        tasks=evidence.effects,
        repeats=evidence.repeats,
        waits=taken_over(evidence, kills),
        errors=work.errors,
    )


def _moments(chance: Random, effects: int) -> list[int]:
    """After how many effects somebody is killed: always before the last one."""
    return sorted(chance.sample(range(1, effects), chance.randint(1, 4)))


def _kill_some(stage: Stage, workers: list[Puppet], chance: Random) -> Kill:
    """Kill one worker, or several; they may be replaced at once, but one is always left."""
    count = chance.choice((1, 1, 1, 2, len(workers)))
    victims = chance.sample(workers, min(count, len(workers)))
    at = time()
    for victim in victims:
        victim.kill()
        workers.remove(victim)
    kill = Kill(at, len(victims), survived=bool(workers))
    if chance.random() < 0.5:
        _fill_up(stage, workers)
    if not workers:
        workers.append(stage.worker())
    return kill


def _fill_up(stage: Stage, workers: list[Puppet]) -> None:
    workers += stage.workers(WORKERS - len(workers))


def _check_attempts(evidence: Evidence, kills: int) -> None:
    """Nothing but a kill interrupts an attempt."""
    for id, book in evidence.books.items():
        for task, attempt in book.effects.items():
            assert attempt <= kills + 1, f"{id}/{task} took {attempt} attempts, {kills} kills"


def taken_over(evidence: Evidence, kills: list[Kill]) -> list[float]:
    """For each kill that others survived, how long it took until all it interrupted began anew."""
    longest: dict[Kill, float] = {}
    for book in evidence.books.values():
        killed: dict[str | None, Kill] = {}
        for event in book.history:
            at = event.at.timestamp()
            if event.kind == "task.interrupted":
                killed[event.task_id] = max(kill for kill in kills if kill.at <= at)
            elif event.kind == "task.started" and event.task_id in killed:
                kill = killed.pop(event.task_id)
                longest[kill] = max(longest.get(kill, 0), at - kill.at)
    return [length for kill, length in longest.items() if kill.survived]
