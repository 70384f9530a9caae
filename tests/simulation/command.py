"""The command: many seeds, or one with all that happened."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Sequence
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
    parser.add_argument("--digests", action="store_true", help="only a hash of each story")
    given = parser.parse_args(arguments)
    seeds = range(given.first, given.first + given.seeds)
    if given.seed is not None:
        return show(given.seed)
    if given.digests:
        say("\n".join(tell(seed).machine.digest() for seed in seeds))
        return 0
    return soak(seeds, given.jobs, given.most)


def say(text: str) -> None:
    """Tell the reader something, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(seed: int) -> int:
    """Tell one story aloud."""
    story = Story(seed)
    broken = None
    with quiet():
        try:
            story.tell()
        except BrokenPromiseError as error:
            broken = error
    say("\n".join(story.machine.trace))
    say(f"digest {story.machine.digest()}, {story.machine.turns} turns")
    if broken is None:
        return 0
    say(f"BROKEN: {broken}\nrepeat it by: {command(seed)}")
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
                say(f"seed {seed}: {problem}")
                if broken >= most:
                    break
            if told % 1000 == 0:
                say(f"{told} stories, {broken} broken promises")
        pool.terminate()
    took = time.monotonic() - began
    each = took / max(told, 1) * 1000
    say(f"{told} stories in {took:.0f} s ({each:.0f} ms each), {broken} broken promises")
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
