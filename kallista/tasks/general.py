"""The task types that come with Kallista for everybody."""

from __future__ import annotations

from collections.abc import Sequence

from kallista.core.handlers import Handler
from kallista.tasks import python, shell, sleep
from kallista.tasks.handler import FunctionHandler


def general_handlers() -> Sequence[Handler]:
    """``python``, ``shell`` and ``sleep``; an app adds them to its registry."""
    return [
        FunctionHandler("python", python.python, check=python.check),
        FunctionHandler("shell", shell.shell, check=shell.check),
        FunctionHandler("sleep", sleep.sleep, check=sleep.check),
    ]
