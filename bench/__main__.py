"""The command: measures what is asked for, all interleaved, and writes the table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine, table
from bench.environments import LeftOut
from bench.measure import Measurer
from bench.records import Record, Records
from bench.rows import BY_NAME
from bench.servers import Servers
from bench.systems import Amount, Entry, Kind, entries

HERE = Path(__file__).parent
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True)
class Planned:
    """A measurement to be made."""

    entry: Entry
    row: str
    size: int
    amount: Amount
    round: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.entry.name, self.row, self.size, self.round


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0: all that was asked for was measured."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    known = entries(chosen.waiting, quick=chosen.quick)
    try:
        asked = _asked(known, _words(chosen.peers), _words(chosen.only))
        rows = _rows(_words(chosen.rows))
    except ValueError as problem:
        parser.error(str(problem))
    records = Records(chosen.records)
    try:
        if not chosen.table:
            _renew(plan(asked, rows, chosen.rounds), records, chosen)
    finally:
        text = table.write(records, known)
        chosen.out.write_text(text, encoding="utf-8")
        if chosen.readme is not None:
            _put_between_marks(chosen.readme, table.short(records, known))
        print(text)
    return 0


def plan(asked: Sequence[Entry], rows: Sequence[str], rounds: int) -> Sequence[Planned]:
    """What is measured, in order: all systems in each row, all rows in each round.

    Another system begins in each round, so that none always follows the same one.
    """
    return [
        Planned(entry, row, size, amount, round)
        for round in range(rounds)
        for row in rows
        for entry in _turned(asked, round)
        if (amount := entry.amounts.get(row)) is not None
        for size in _sizes(entry, amount, round)
    ]


def _sizes(entry: Entry, amount: Amount, round: int) -> Sequence[int]:
    if round == 0:
        return sorted((amount.main, *amount.others))
    if amount.once or entry.once:
        return ()
    return (amount.main,) if entry.kind is Kind.PEER else sorted((amount.main, *amount.others))


def _turned(asked: Sequence[Entry], by: int) -> Sequence[Entry]:
    first = by % max(1, len(asked))
    return [*asked[first:], *asked[:first]]


def _renew(planned: Sequence[Planned], records: Records, chosen: argparse.Namespace) -> None:
    """Measure it anew, or what is missing of it."""
    if not chosen.resume:
        anew = {(one.entry.name, one.row) for one in planned}
        records.forget(lambda record: (record.system, record.row) in anew)
    _measure(planned, records, chosen)


def _measure(planned: Sequence[Planned], records: Records, chosen: argparse.Namespace) -> None:
    """Make the measurements; what has failed once is not tried again in other sizes and rounds."""
    chosen.scratch.mkdir(parents=True, exist_ok=True)
    done = {record.key for record in records.all() if not record.error}
    todo = [one for one in planned if one.key not in done]
    with tempfile.TemporaryDirectory(dir=chosen.scratch, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        scratch = Path(folder)
        servers = Servers(scratch, chosen.environments)
        log = chosen.records.absolute() / "errors.log"
        try:
            measurer = Measurer(servers, chosen.environments, scratch, log)
            left_out = _prepare(measurer, [one.entry for one in todo])
            records.leave_out(left_out, {one.entry.name for one in planned})
            records.note({**machine.describe(), **servers.versions()})
            failed: set[tuple[str, str]] = set()
            for count, one in enumerate(todo, 1):
                pair = one.entry.name, one.row
                if one.entry.name not in left_out and pair not in failed:
                    record = _make(measurer, one, records, f"{count}/{len(todo)}")
                    failed |= {pair} if record.error else set()
        finally:
            servers.stop()


def _prepare(measurer: Measurer, wanted: Sequence[Entry]) -> Mapping[str, str]:
    """Make what the systems need; who is left out, and why."""
    left_out: dict[str, str] = {}
    for entry in {entry.name: entry for entry in wanted}.values():
        try:
            measurer.prepare(entry)
        except LeftOut as reason:
            left_out[entry.name] = str(reason)
            print(f"left out: {entry.name}: {reason}", flush=True)
    return left_out


def _make(measurer: Measurer, one: Planned, records: Records, place: str) -> Record:
    record = measurer.measure(one.entry, one.row, one.size, one.amount, one.round)
    records.add(record)
    print(f"{time.strftime('%H:%M:%S')} {place} {_told(record)}", flush=True)
    return record


def _told(record: Record) -> str:
    row = BY_NAME[record.row]
    said = f"failed: {record.error}" if record.error else table.shown(row, record.figures)
    what = f"round {record.round + 1} {record.row} n={record.size} {record.system}"
    return f"{what}: {said} {'' if record.error else row.unit} ({record.took:.1f} s)"


def _put_between_marks(document: Path, text: str) -> None:
    """Put the short table into a document, in the place of the one before.

    Raises:
        ValueError: The document has no place for it.
    """
    before, *found = document.read_text(encoding="utf-8").split(f"{BEGIN}\n")
    if len(found) != 1 or END not in found[0]:
        raise ValueError(f"{document} has no place for a table: {BEGIN} and, later, {END}")
    _, after = found[0].split(END, 1)
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _asked(known: Sequence[Entry], peers: Sequence[str], only: Sequence[str]) -> Sequence[Entry]:
    """The systems that were asked for; a choice of peers leaves Kallista and the limits in.

    Raises:
        ValueError: A word names none.
    """
    names = {word for entry in known for word in _names(entry)}
    if unknown := [word for word in (*peers, *only) if word not in names]:
        raise ValueError(f"there is no {', '.join(unknown)}; there are {', '.join(sorted(names))}")
    return [
        entry
        for entry in known
        if (not only or _names(entry) & {*only})
        and (not peers or entry.kind is not Kind.PEER or _names(entry) & {*peers})
    ]


def _names(entry: Entry) -> set[str]:
    return {entry.family, entry.name, entry.kind.value}


def _rows(words: Sequence[str]) -> Sequence[str]:
    """The rows that were asked for, in their order; ``W1`` also means ``W1 one``.

    Raises:
        ValueError: A word names none.
    """
    wanted = ["W1" if word == "W5" else word for word in words]
    if unknown := [word for word in wanted if word not in BY_NAME]:
        raise ValueError(f"there is no {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    return [
        name
        for name in BY_NAME
        if name != "W5" and (not wanted or name in wanted or name.split()[0] in wanted)
    ]


def _words(text: str) -> Sequence[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--peers", default="", help="only these peers, beside Kallista: dbos,absurd")
    add("--only", default="", help="only these systems: kallista,journal,dbos")
    add("--rows", default="", help="only these rows: W1,W3")
    add("--rounds", type=int, default=3, help="how often everything is measured")
    add("--waiting", type=int, default=1_000_000, help="how many tasks wait in Kallista's W8")
    add("--quick", action="store_true", help="next to no work, to see that everything works")
    add("--resume", action="store_true", help="skip what is measured already")
    add("--table", action="store_true", help="measure nothing; write the table of what is there")
    add("--out", type=Path, default=HERE / "RESULTS.md", help="where the table goes")
    add("--readme", type=Path, help="a document that has a place for a short table")
    add("--records", type=Path, default=HERE / ".records", help="the folder of measurements")
    add("--environments", type=Path, default=HERE / ".envs", help="the folder of environments")
    add("--scratch", type=Path, default=HERE / ".scratch", help="where stores are made")
    return parser


def _ended(number: int, frame: object) -> None:
    """Let SIGTERM end everything that was started, as Ctrl-C does."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _ended)
    sys.exit(main())
