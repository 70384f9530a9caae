"""Tells whether a path lies on a network file system, where file locks cannot be trusted."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

NETWORK_TYPES: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs"})

_MOUNTS = Path("/proc/self/mounts")
# The table writes blanks, tabs, line ends and backslashes in octal.
_OCTAL = re.compile(r"\\([0-7]{3})")


def network_type(path: Path) -> str | None:
    """The network file system that a path lies on, or None.

    Only well-known ones are named: what cannot be told apart from a local disk is let pass.

    Args:
        path: An absolute path; it need not exist yet.
    """
    if sys.platform == "win32":
        return _windows_network_type(path)
    try:
        mounts = _MOUNTS.read_text("utf-8", "replace")
    except OSError:
        return None
    return mounted_network_type(path, mounts)


def mounted_network_type(path: Path, mounts: str) -> str | None:
    """The same, by a table of mounts in the form of Linux's ``/proc/self/mounts``."""
    best, found = -1, None
    for line in mounts.splitlines():
        _, _, rest = line.partition(" ")
        place, _, rest = rest.partition(" ")
        kind, _, _ = rest.partition(" ")
        folder = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), place))
        if path.is_relative_to(folder) and len(folder.parts) >= best:
            best, found = len(folder.parts), kind
    return found if found in NETWORK_TYPES else None


if sys.platform == "win32":

    def _windows_network_type(path: Path) -> str | None:
        import ctypes

        drive_is_remote = 4
        if path.drive.startswith("\\\\"):
            return "a network share"
        kind = ctypes.windll.kernel32.GetDriveTypeW(f"{path.drive}\\")
        return "a network drive" if kind == drive_is_remote else None

else:

    def _windows_network_type(path: Path) -> str | None:
        return None
