"""What can go wrong with a request of the task type ``http``; names for ``retry_on``."""

from __future__ import annotations

from kallista.errors import KallistaError


class HttpError(KallistaError):
    """A request was not answered as it should have been."""


class HttpTemporaryError(HttpError):
    """Another attempt may fare better: what ``retry_on`` names for all that passes."""


class HttpConnectionError(HttpTemporaryError, ConnectionError):
    """The server cannot be reached, broke off, shows a wrong certificate or speaks no HTTP."""


class HttpTimeoutError(HttpTemporaryError, TimeoutError):
    """The server had not answered in full when ``patience`` was over."""


class HttpStatusError(HttpError):
    """The server answered with another status than expected.

    Args:
        message: What happened.
        retry_after: In how many seconds it asks to come again; None: it does not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class HttpBusyError(HttpStatusError, HttpTemporaryError):
    """It did so with one that passes: 408, 425, 429, 500, 502, 503 or 504."""


class HttpAnswerError(HttpError):
    """The answer is too large, or cannot be unpacked."""


class HttpRefusedError(HttpError):
    """The address is not open to tasks, or a redirect leads where none is followed."""
