"""A lock under which validators are built from type hints, one at a time.

To build one, pydantic may parse source texts for the docstrings of fields. On CPython 3.11 and 3.12
two threads that parse at once can disturb each other, and one of them gets ``SystemError: AST
constructor recursion depth mismatch``: the depth is counted in a place that they share.
"""

from __future__ import annotations

from threading import RLock
from typing import Final

BUILDING: Final = RLock()
