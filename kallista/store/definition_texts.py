"""Keeps the contents of definitions that were read lately, so that many runs share one text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kallista.core.types import JsonText

_KEPT: Final = 8 * 1024 * 1024


class DefinitionTexts:
    """Contents by their hashes, up to eight million characters.

    A definition never changes: what has this hash has this content.
    """

    def __init__(self) -> None:
        self._kept: dict[str, JsonText] = {}
        self._size = 0

    def among(self, hashes: Iterable[str]) -> dict[str, JsonText]:
        """Those of the contents that are there."""
        return {hash: self._kept[hash] for hash in hashes if hash in self._kept}

    def keep(self, read: Mapping[str, JsonText]) -> None:
        """Remember more of them, and forget all others when there is no room left."""
        size = sum(map(len, read.values()))
        if self._size + size > _KEPT:
            self._kept.clear()
            self._size = 0
        if size <= _KEPT:
            self._kept.update(read)
            self._size += size
