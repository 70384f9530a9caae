"""``kallista init``: a small commented project to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kallista.cli.inspecting import schema_text
from kallista.errors import UsageError

HELLO: Final = """\
# yaml-language-server: $schema=kallista.schema.json
#
# A workflow: its tasks run one after the other, and a finished one never runs again.
#
#   kallista run hello.yaml
#   kallista run hello.yaml --set name=Ada --id second
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
- `kallista.toml`: settings, such as where task types are found
- `kallista.schema.json`: lets your editor complete and check definitions

```
kallista run hello.yaml
kallista workflow show hello
kallista workflow history hello
kallista types greet
```

What happens is kept in `data/workflows/kallista.db`, logs lie in `logs/`.
"""

SETTINGS: Final = """\
# Modules and files with @task functions, loaded by every kallista command in this folder.
tasks = ["tasks.py"]

# How many tasks one program executes at once.
# max_concurrency = 100

# How many of them may have a process of their own; without it one for each processor.
# processes = 4

# For how long runs are kept once they are over; without it for ever.
# retention = "90d"

# Where everything is kept; an environment variable (KALLISTA_STORE) or --store wins.
# url = "sqlite:///data/workflows/kallista.db"
"""

IGNORED: Final = """\
data/
logs/
output/
"""


_COMMON: Final = frozenset({"README.md", ".gitignore", "kallista.schema.json"})


def files() -> dict[str, str]:
    """What the project consists of: the text of each file by its name."""
    return {
        "hello.yaml": HELLO,
        "tasks.py": TASKS,
        "kallista.toml": SETTINGS,
        "kallista.schema.json": schema_text(),
        "README.md": README,
        ".gitignore": IGNORED,
    }


def write_starter(folder: str) -> Sequence[Path]:
    """Write the project.

    Args:
        folder: Where; made if need be.

    Returns:
        The files written.

    Raises:
        UsageError: One of them is there already, or the folder cannot be written to. A file that
            many projects have (a README, say) is left as it is and no error.
    """
    place, contents = Path(folder), files()
    there = [name for name in contents if (place / name).exists()]
    for name in _COMMON.intersection(there):
        del contents[name]
        there.remove(name)
    if there:
        raise UsageError(f"{place} holds {', '.join(there)} already; choose another folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (place / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{place} cannot be written to: {error.strerror or error}") from error
    return [place / name for name in contents]
