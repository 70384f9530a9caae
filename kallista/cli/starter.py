"""``kallista init``: a small commented project to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kallista.errors import UsageError

HELLO: Final = """\
# A workflow: its tasks run one after the other, and a finished one never runs again.
#
#   kallista run hello.yaml --tasks tasks.py
#   kallista run hello.yaml --tasks tasks.py --set name=Ada --id second
#
# Stop it at any moment (Ctrl-C, or kill -9): the same command goes on where it stopped.

kind: workflow
id: hello
name: Hello

# What a run can be given by --set; a value without a default has to be given.
inputs:
  name: {type: string, default: world}

tasks:
  # A task type of your own: the function in tasks.py with this name.
  - id: greeting
    type: greet
    config:
      name: ${inputs.name}
    # Try again when it fails: at once, then after 2 s, 4 s, ...
    retry: {max_attempts: 3, delay: 2s}

  # A durable sleep: no worker is held, and a restart does not start it anew.
  - id: breath
    type: sleep
    seconds: 1

  # A later task reads what an earlier one returned.
  - id: shout
    type: greet
    config:
      name: ${tasks.greeting.result.text}
    # Skipped unless this is true.
    when: size(tasks.greeting.result.text) < 100
"""

TASKS: Final = '''\
"""The task types of this project."""

from kallista import TaskContext, task


@task("greet")
async def greet(ctx: TaskContext, name: str) -> dict[str, str]:
    """Greet somebody.

    An ``async def`` runs on the event loop, a ``def`` on a thread. The first parameter is the
    attempt (leave it out if you do not need it); the others are the task's config, checked against
    their type hints before anything runs.
    """
    ctx.logger.info("greeting", name=name)
    return {"text": f"Hello, {name}!"}
'''

README: Final = """\
# A Kallista project

- `hello.yaml`: a workflow
- `tasks.py`: its task types

```
kallista run hello.yaml --tasks tasks.py
kallista workflow show hello
kallista workflow history hello
kallista types --tasks tasks.py
```

What happens is kept in `data/workflows/kallista.db`, logs lie in `logs/`.
"""

FILES: Final = {"hello.yaml": HELLO, "tasks.py": TASKS, "README.md": README}


def write_starter(folder: str) -> Sequence[Path]:
    """Write the project.

    Args:
        folder: Where; made if need be.

    Returns:
        The files written.

    Raises:
        UsageError: One of them is there already, or the folder cannot be written to.
    """
    place = Path(folder)
    there = [name for name in FILES if (place / name).exists()]
    if there:
        raise UsageError(f"{place} holds {', '.join(there)} already; choose another folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in FILES.items():
            (place / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{place} cannot be written to: {error.strerror or error}") from error
    return [place / name for name in FILES]
