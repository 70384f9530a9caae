"""An output folder: whole files or none, never outside it, and nobody else's replaced unasked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypedDict
from uuid import uuid4

from kallista.wpf.errors import OutputConflictError, OutputError
from kallista.wpf.naming import is_device

BOOKS: Final = ".kallista"
"""The folder inside an output folder that remembers who wrote what."""

_LEDGER: Final = "files.json"


class FileRecord(TypedDict):
    """A file as results list it."""

    path: str
    size: int
    sha256: str


class _Owner(TypedDict):
    run: str
    sha256: str


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """A folder that several tasks, runs and programs may write into at the same time.

    Bytes are first written and synced under temporary names inside the folder, on its own file
    system; then, under an operating-system lock, checked against what is there and renamed into
    place. A ledger in the folder says which run wrote each file: other bytes of another run, or
    of nobody known, are never replaced unless asked.

    Args:
        path: The folder, absolute or relative to the working folder; made when first written to.
        run: The run that writes.
        writer: The task of that run that writes; no two write at the same time under one name.
    """

    path: str
    run: str
    writer: str

    def write(self, files: Mapping[str, bytes], *, overwrite: bool = False) -> list[FileRecord]:
        """Bring files into the folder, all of them or, when one may not be replaced, none.

        Args:
            files: Their bytes by their paths relative to the folder, with forward slashes.
            overwrite: Replace other bytes of other runs too.

        Raises:
            OutputConflictError: When the folder holds other bytes that this run did not write.
            OutputError: When a path leads outside or cannot exist on every system, or the
                operating system refuses.
        """
        problems = [*_path_problems(files)]
        if problems:
            raise OutputError("\n".join(["Nothing was written:", *problems]))
        try:
            return self._write(files, overwrite)
        except OSError as error:
            raise OutputError(
                f"Writing into {self.path} failed: {error}. Files are whole or absent; make room "
                "or give permission there, or choose another output_dir, and retry."
            ) from error

    def _write(self, files: Mapping[str, bytes], overwrite: bool) -> list[FileRecord]:
        root = Path(self.path).absolute()
        (root / BOOKS).mkdir(parents=True, exist_ok=True)
        records = [record_of(path, content) for path, content in files.items()]
        with self._staged(root, files) as staged, _locked(root / BOOKS / "lock"):
            ledger = _read_ledger(root)
            if not overwrite:
                self._refuse_conflicts(root, records, ledger)
            # The ledger comes first: a file without an entry could not be told from a stranger's.
            _write_ledger(root, self._entered(ledger, records))
            for record, temporary in zip(records, staged, strict=True):
                _place(root, record, temporary)
            _sync_folders(root, files)
        return records

    @contextmanager
    def _staged(self, root: Path, files: Mapping[str, bytes]) -> Iterator[list[Path]]:
        """The files under temporary names, synced; whatever is left of them goes in the end."""
        staging = root / BOOKS / "staging"
        mine = hashlib.sha256(f"{self.run}\n{self.writer}".encode()).hexdigest()[:16]
        for leftover in staging.glob(f"{mine}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = staging / f"{mine}-{uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        try:
            yield [
                _write_synced(folder / str(number), content)
                for number, content in enumerate(files.values())
            ]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _refuse_conflicts(
        self, root: Path, records: Sequence[FileRecord], ledger: Mapping[str, _Owner]
    ) -> None:
        problems = [
            f"{record['path']} {_whose(ledger.get(record['path']))}"
            for record in records
            if self._is_foreign(root, record, ledger)
        ]
        if problems:
            raise OutputConflictError(self.path, problems)

    def _is_foreign(self, root: Path, record: FileRecord, ledger: Mapping[str, _Owner]) -> bool:
        present = _sha256_of(root / record["path"])
        if present is None or present == record["sha256"]:
            return False
        owner = ledger.get(record["path"])
        return owner is None or owner["run"] != self.run

    def _entered(
        self, ledger: Mapping[str, _Owner], records: Sequence[FileRecord]
    ) -> dict[str, _Owner]:
        """The ledger with these files; one that is there already stays with who wrote it."""
        entries = dict(ledger)
        for record in records:
            known = entries.get(record["path"])
            if known is None or known["sha256"] != record["sha256"]:
                entries[record["path"]] = {"run": self.run, "sha256": record["sha256"]}
        return entries

    def read(self, path: str) -> bytes | None:
        """What a file of the folder holds now, or None when there is none.

        Raises:
            OutputError: When the operating system refuses.
        """
        try:
            return (Path(self.path) / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"Reading {path} in {self.path} failed: {error}.") from error


def record_of(path: str, content: bytes) -> FileRecord:
    """How results list a file of this path with these bytes."""
    return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _path_problems(paths: Mapping[str, bytes]) -> Iterator[str]:
    first: dict[str, str] = {}
    for path in paths:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path or not path:
            yield f"  - {path!r} leads outside the output folder"
        elif any(is_device(part) for part in pure.parts):
            yield f"  - {path!r} names a device on Windows; choose another name"
        known = first.setdefault(path.casefold(), path)
        if known != path:
            yield f"  - {path!r} and {known!r} differ only by case and would be one file"


def _place(root: Path, record: FileRecord, temporary: Path) -> None:
    target = root / record["path"]
    # A link inside the folder may lead out of it, whatever the names say.
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise OutputError(f"{record['path']!r} leads outside {root} through a link; remove it.")
    if _sha256_of(target) == record["sha256"]:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, target)


def _whose(owner: _Owner | None) -> str:
    return f"was written by the run {owner['run']}" if owner else "was not written by Kallista"


def _sha256_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _read_ledger(root: Path) -> dict[str, _Owner]:
    try:
        text = (root / BOOKS / _LEDGER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        entries = json.loads(text)
        return {
            str(path): {"run": str(entry["run"]), "sha256": str(entry["sha256"])}
            for path, entry in entries.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OutputError(
            f"{root / BOOKS / _LEDGER} cannot be read as Kallista wrote it; remove it, and set "
            "overwrite: true to write over files whose origin is then unknown."
        ) from error


def _write_ledger(root: Path, ledger: Mapping[str, _Owner]) -> None:
    text = json.dumps(ledger, indent=1, sort_keys=True, ensure_ascii=False)
    temporary = _write_synced(root / BOOKS / f"{_LEDGER}.tmp", f"{text}\n".encode())
    os.replace(temporary, root / BOOKS / _LEDGER)


def _write_synced(path: Path, content: bytes) -> Path:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return path


def _sync_folders(root: Path, paths: Mapping[str, bytes]) -> None:
    """Make names durable. Windows has no way to ask for it, and needs none."""
    if sys.platform == "win32":
        return
    folders = {root, root.parent, root / BOOKS}
    for path in paths:
        folders.update(root / parent for parent in PurePosixPath(path).parents)
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the operating system gives back when the program dies."""
    with path.open("ab") as stream:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        # Closing gives the lock back.
        yield
