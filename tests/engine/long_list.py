"""How much memory a long list takes: a program that goes through one, and says what it has held.

    python tests/engine/long_list.py ITEMS [FOLDER]

Prints the number of items that have completed, and the most memory in MiB. With 100,000 items it
exits with 1 where they take much more than half of them do, for which the page caches of the store
(32 MiB) are as full.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from kallista import Kallista, task

MORE_MIB = 24
"""What a long list may take beyond a short one: itself, and pages of the store in its caches."""


async def go_through(count: int, url: str) -> int:
    """Go through a list of so many items; returns how many have completed."""

    @task("touch")
    async def touch(item: int) -> int:
        return item

    each = {
        "id": "each", "type": "touch", "for_each": "${inputs.items}", "max_parallel": 100,
        "collect": False, "config": {"item": "${item}"},
    }  # fmt: skip
    inputs = {"items": {"type": "array"}}
    async with Kallista(url) as app:
        run = await app.workflow_manager.run_workflow(
            "long", [each], {"inputs": inputs}, inputs={"items": list(range(count))}
        )
    completed = run.raise_for_status().results["each"]["completed"]
    assert isinstance(completed, int)
    return completed


def most_memory() -> float:
    """The most that this process has held at once, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def measured(count: int, folder: Path) -> tuple[int, float]:
    """What a program of its own says about a list of so many items."""
    command = [sys.executable, __file__, str(count), str(folder)]
    completed, most = subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.split()
    return int(completed), float(most)


def main(count: int, folder: Path) -> int:
    """Go through the list, and through half of it if it is long."""
    completed = asyncio.run(go_through(count, f"sqlite:///{folder / f'{count}.db'}"))
    most = most_memory()
    sys.stdout.write(f"{completed} {most:.1f}\n")
    if count < 100_000:
        return 0
    _, less = measured(count // 2, folder)
    sys.stdout.write(f"{count // 2} {less:.1f}\n")
    return int(completed != count or most > less + MORE_MIB)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(int(sys.argv[1]), Path(folder)))
