"""The command: many seeds, or one with all that happened."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterable, Sequence
from multiprocessing import get_context

from .loop import BrokenPromiseError
from .story import Story, command, quiet, tell


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell stories; returns 1 when one of them breaks a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=300, help="how many stories")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--seed", type=int, help="one story, with all that happens in it")
    parser.add_argument("--most", type=int, default=10, help="stop after so many broken promises")
    given = parser.parse_args(arguments)
    if given.seed is not None:
        return show(given.seed)
    return soak(range(given.first, given.first + given.seeds), given.jobs, given.most)


def show(seed: int) -> int:
    """Tell one story aloud."""
    story = Story(seed)
    broken = None
    with quiet():
        try:
            story.tell()
        except BrokenPromiseError as error:
            broken = error
    print(*story.machine.trace, sep="\n")
    print(f"digest {story.machine.digest()}, {story.machine.turns} turns")
    if broken is None:
        return 0
    print(f"BROKEN: {broken}\nrepeat it by: {command(seed)}")
    return 1


def soak(seeds: Sequence[int], jobs: int, most: int) -> int:
    """Tell many stories."""
    began = time.monotonic()
    broken = told = 0
    with get_context("spawn").Pool(jobs) as pool:
        for seed, problem in pool.imap_unordered(attempt, seeds, chunksize=4):
            told += 1
            if problem is not None:
                broken += 1
                print(f"seed {seed}: {problem}", flush=True)
                if broken >= most:
                    break
            if told % 1000 == 0:
                print(f"{told} stories, {broken} broken promises", flush=True)
        pool.terminate()
    took = time.monotonic() - began
    print(f"{told} stories in {took:.0f} s ({took / max(told, 1) * 1000:.0f} ms each),"
          f" {broken} broken promises")  # fmt: skip
    return 1 if broken else 0


def attempt(seed: int) -> tuple[int, str | None]:
    """One story; what it broke, if anything."""
    try:
        tell(seed)
    except BrokenPromiseError as error:
        return seed, str(error)
    finally:
        if seed % 20 == 0:
            gc.collect()
    return seed, None


def digests(seeds: Iterable[int]) -> list[str]:
    """What happened in stories, as hashes."""
    return [tell(seed).machine.digest() for seed in seeds]
