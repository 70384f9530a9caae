"""The task types that come with Kallista for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kallista.core.handlers import Handler
from kallista.core.questions import APPROVAL, WAIT_FOR_SIGNAL
from kallista.tasks import approval, python, shell, signals, sleep
from kallista.tasks.handler import FunctionHandler
from kallista.tasks.http import HttpHandler

if TYPE_CHECKING:
    from kallista.tasks.reach import Reach


def general_handlers() -> Sequence[Handler]:
    """Those that need no setting of an app; it adds them to its registry."""
    return [
        FunctionHandler("python", python.python, check=python.check),
        FunctionHandler("shell", shell.shell, check=shell.check),
        FunctionHandler("sleep", sleep.sleep, check=sleep.check),
        FunctionHandler(APPROVAL, approval.approval, check=approval.check),
        FunctionHandler(WAIT_FOR_SIGNAL, signals.wait_for_signal, check=signals.check),
    ]


def http_handler(allowed: Sequence[str]) -> Handler:
    """``http``, for one app: which addresses it may reach is a setting of that app.

    Args:
        allowed: Networks that are open to requests besides the public ones, like ``10.1.0.0/16``.
    """

    def reach() -> Reach:
        from kallista.tasks.reach import Reach

        return Reach(allowed)

    return HttpHandler(reach)
