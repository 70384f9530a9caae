"""The output folder: whole files, in the folder, and nobody else's replaced."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from kallista.wpf.errors import OutputConflictError, OutputError
from kallista.wpf.output import OutputFolder

from .support import bytes_of


def _folder(path: Path, run: str = "run-1", writer: str = "task-1") -> OutputFolder:
    return OutputFolder(str(path), run=run, writer=writer)


@pytest.mark.parametrize(
    "path", ["../out.cs", "a/../../out.cs", "/etc/out.cs", "..\\out.cs", "C:/out.cs", ""]
)
def test_nothing_is_written_outside(path: str, tmp_path: Path) -> None:
    """Whatever a path says, it stays in the folder or nothing is written at all."""
    with pytest.raises(OutputError, match="leads outside the output folder"):
        _folder(tmp_path / "out").write({"fine.cs": b"1", path: b"2"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["Con.cs", "a/aux/b.cs", "NUL", "com1.xaml.cs", "Lpt9.txt"])
def test_devices_of_windows_are_refused(path: str, tmp_path: Path) -> None:
    """A file that Windows would take for a device is refused everywhere."""
    with pytest.raises(OutputError, match="names a device on Windows"):
        _folder(tmp_path / "out").write({path: b""})


def test_names_that_differ_by_case_are_refused(tmp_path: Path) -> None:
    """Two files that would be one elsewhere are refused before either is written."""
    with pytest.raises(OutputError, match="differ only by case"):
        _folder(tmp_path / "out").write({"Order.cs": b"1", "order.cs": b"2"})
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_does_not_lead_outside(tmp_path: Path) -> None:
    """A folder that is a link out of the output folder is not written through."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "src").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="leads outside"):
        _folder(tmp_path / "out").write({"src/a.cs": b"1"})
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_run_may_write_again(tmp_path: Path) -> None:
    """A retried task replaces what its own run wrote, the same bytes or others."""
    folder = _folder(tmp_path)
    folder.write({"a.cs": b"1"})
    folder.write({"a.cs": b"1"})
    folder.write({"a.cs": b"2"})
    assert bytes_of(tmp_path) == {"a.cs": b"2"}


def test_the_same_bytes_belong_to_everybody(tmp_path: Path) -> None:
    """Another run may write what is there already; whose it is stays with the first."""
    _folder(tmp_path, "run-1").write({"a.cs": b"1"})
    _folder(tmp_path, "run-2").write({"a.cs": b"1"})
    with pytest.raises(OutputConflictError, match="run run-1"):
        _folder(tmp_path, "run-2").write({"a.cs": b"2"})


def test_other_bytes_of_another_run_are_kept(tmp_path: Path) -> None:
    """All conflicts are told at once, and then not even the harmless files are written."""
    _folder(tmp_path, "run-1").write({"a.cs": b"1", "b.cs": b"1"})
    with pytest.raises(OutputConflictError) as caught:
        _folder(tmp_path, "run-2").write({"a.cs": b"2", "b.cs": b"2", "c.cs": b"2"})
    assert len(caught.value.problems) == 2
    assert bytes_of(tmp_path) == {"a.cs": b"1", "b.cs": b"1"}


def test_files_of_nobody_known_are_kept(tmp_path: Path) -> None:
    """A file that Kallista did not write is never replaced unasked."""
    (tmp_path / "a.cs").write_bytes(b"mine")
    with pytest.raises(OutputConflictError, match="was not written by Kallista"):
        _folder(tmp_path).write({"a.cs": b"1"})
    _folder(tmp_path).write({"a.cs": b"1"}, overwrite=True)
    assert bytes_of(tmp_path) == {"a.cs": b"1"}


def test_what_was_deleted_may_be_written_by_anybody(tmp_path: Path) -> None:
    """There is nothing to protect in a file that is gone."""
    _folder(tmp_path, "run-1").write({"a.cs": b"1"})
    (tmp_path / "a.cs").unlink()
    _folder(tmp_path, "run-2").write({"a.cs": b"2"})
    with pytest.raises(OutputConflictError, match="run run-2"):
        _folder(tmp_path, "run-1").write({"a.cs": b"1"})


def test_a_crash_leaves_whole_files_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped anywhere between two files, the same task finishes the same bytes and tidies up."""
    files = {f"{number}.cs": str(number).encode() * 1000 for number in range(5)}
    real = os.replace
    for survivors in range(7):
        left = survivors

        def crash(source: str, target: str) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            real(source, target)

        folder = tmp_path / str(survivors)
        with monkeypatch.context() as patch:
            patch.setattr("kallista.wpf.output.os.replace", crash)
            patch.setattr("kallista.wpf.output.shutil.rmtree", lambda *_, **__: None)
            try:
                _folder(folder).write(files)
            except KeyboardInterrupt:
                assert bytes_of(folder).items() <= files.items()
        _folder(folder).write(files)
        assert bytes_of(folder) == files
        assert list((folder / ".kallista/staging").iterdir()) == []


def test_parts_may_be_written_at_once(tmp_path: Path) -> None:
    """Tasks of one run write into one folder together, and every file is accounted for."""
    together = Barrier(4)

    def write(part: int) -> None:
        files = {f"{part}/{number}.cs": b"%d" % part for number in range(10)}
        together.wait()
        _folder(tmp_path, writer=f"task-{part}").write({**files, "shared.cs": b"same"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(bytes_of(tmp_path)) == 41
    for path in bytes_of(tmp_path):
        with pytest.raises(OutputConflictError, match="run run-1"):
            _folder(tmp_path, "run-2").write({path: b"other"})


def test_two_runs_never_mix(tmp_path: Path) -> None:
    """Of two runs that write other bytes at once, one gets everything and one an error."""
    together = Barrier(2)
    paths = [f"{number}.cs" for number in range(20)]

    def write(run: str) -> str | None:
        together.wait()
        try:
            _folder(tmp_path, run).write(dict.fromkeys(paths, run.encode()))
        except OutputConflictError:
            return None
        return run

    with ThreadPoolExecutor(2) as pool:
        winners = [run for run in pool.map(write, ["run-1", "run-2"]) if run]
    assert len(winners) == 1
    assert set(bytes_of(tmp_path).values()) == {winners[0].encode()}


def test_a_refusing_system_is_told_clearly(tmp_path: Path) -> None:
    """A folder that cannot be written is an error that says what to do."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="choose another output_dir"):
        _folder(tmp_path / "file").write({"a.cs": b"1"})


def test_damaged_books_are_told_clearly(tmp_path: Path) -> None:
    """A ledger that is no ledger stops the writing instead of being believed."""
    _folder(tmp_path).write({"a.cs": b"1"})
    (tmp_path / ".kallista" / "files.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be read as Kallista wrote it"):
        _folder(tmp_path).write({"a.cs": b"2"})
