"""What the machine is, in words that name neither it nor its folders."""

from __future__ import annotations

import os
import platform
import sqlite3
from pathlib import Path


def describe() -> dict[str, str]:
    """Cores, memory, operating system, Python, SQLite."""
    facts = {
        "cores": f"{os.cpu_count()} ({_processor()})",
        "memory": f"{_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        "SQLite of Python": sqlite3.sqlite_version,
    }
    try:
        import apsw
    except ImportError:
        return facts
    return {**facts, "SQLite of Kallista": apsw.sqlite_lib_version()}


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    if known.exists():
        for line in known.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
