"""Processes that belong to one worker: ended with all they have started, and never left behind."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any, Final, Protocol


class Leash(Protocol):
    """A hold on a process and all that it has started."""

    def end(self) -> None:
        """End all of them, at once; no harm when they have ended."""
        ...


if sys.platform == "win32":
    import ctypes
    import subprocess
    from ctypes import wintypes

    APART: Final[dict[str, Any]] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    """How a process is started that Ctrl-C is not meant for."""

    _LIMITS: Final = 9  # JobObjectExtendedLimitInformation
    _END_WITH_HANDLE: Final = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    _ALL_ACCESS: Final = 0x1FFFFF  # PROCESS_ALL_ACCESS

    class _Limits(ctypes.Structure):
        _fields_ = (
            ("process_time", ctypes.c_int64),
            ("job_time", ctypes.c_int64),
            ("flags", wintypes.DWORD),
            ("least_memory", ctypes.c_size_t),
            ("most_memory", ctypes.c_size_t),
            ("processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("priority", wintypes.DWORD),
            ("scheduling", wintypes.DWORD),
            ("transfers", ctypes.c_uint64 * 6),
            ("process_memory", ctypes.c_size_t),
            ("job_memory", ctypes.c_size_t),
            ("process_peak", ctypes.c_size_t),
            ("job_peak", ctypes.c_size_t),
        )

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.CreateJobObjectW.restype = wintypes.HANDLE
    _kernel.OpenProcess.restype = wintypes.HANDLE
    _kernel.SetInformationJobObject.argtypes = (
        wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD,
    )  # fmt: skip
    _kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    _kernel.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
    _kernel.CloseHandle.argtypes = (wintypes.HANDLE,)

    class _Family:
        """A job object: it ends when its only handle closes, which is when this program ends."""

        def __init__(self, pid: int) -> None:
            self._handle = _kernel.CreateJobObjectW(None, None)
            limits = _Limits(flags=_END_WITH_HANDLE)
            _kernel.SetInformationJobObject(
                self._handle, _LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
            )
            process = _kernel.OpenProcess(_ALL_ACCESS, False, pid)
            _kernel.AssignProcessToJobObject(self._handle, process)
            _kernel.CloseHandle(process)

        def end(self) -> None:
            """End all of them."""
            if self._handle:
                _kernel.TerminateJobObject(self._handle, 1)
                _kernel.CloseHandle(self._handle)
                self._handle = None

    def leash(pid: int) -> Leash:
        """Hold a process that was just started, so that it ends with this one at the latest."""
        return _Family(pid)

    def follow(parent: int) -> None:
        """End when the parent does; here the parent sees to that."""

    def end_own_family() -> None:
        """End this process; what it has started ends when the parent lets go of all."""
        os._exit(1)

else:
    APART: Final[dict[str, Any]] = {"start_new_session": True}
    """How a process is started that leads a group of its own, and that Ctrl-C is not meant for."""

    _PR_SET_PDEATHSIG: Final = 1

    class _Group:
        def __init__(self, leader: int) -> None:
            self._leader = leader

        def end(self) -> None:
            """End all of them."""
            with suppress(ProcessLookupError, PermissionError):  # nobody of the group is left
                os.killpg(self._leader, signal.SIGKILL)

    def leash(pid: int) -> Leash:
        """Hold a process that was just started."""
        return _Group(pid)

    def follow(parent: int) -> None:
        """End when the parent does, whatever this process is busy with.

        Elsewhere than on Linux it ends when its pipe does, which it sees once Python code runs.
        """
        if sys.platform == "linux":
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it had ended before
            end_own_family()

    def end_own_family() -> None:
        """End this process and all that it has started."""
        os.killpg(0, signal.SIGKILL)


def how_it_ended(exit_code: int) -> str:
    """What an exit code says: ``exited with code 3``, ``was killed by SIGSEGV``."""
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = " (the system does that when memory runs out)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
