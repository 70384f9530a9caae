"""The harness of the benchmarks runs, and writes its table: with next to no work, on SQLite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.__main__ import BEGIN, END, main
from bench.records import Records, exponent
from bench.rows import ROWS

WHO = "kallista (SQLite)"

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the benchmarks run on Linux and macOS"
)


def rows_of(system: str, table: Path) -> set[str]:
    """The rows in which a system stands in the table."""
    lines = [line.split("|") for line in table.read_text(encoding="utf-8").splitlines()]
    cells = [line for line in lines if len(line) > 3 and line[2].strip() == system]
    return {line[1].split("(")[0].strip() for line in cells if line[3].strip() != "-"}


def test_every_row_gets_a_figure_and_stands_in_the_table(tmp_path: Path) -> None:
    """Protects ``make bench``: each kind of work is still done by the public objects."""
    records, table = tmp_path / "records", tmp_path / "RESULTS.md"
    arguments = ["--quick", "--rounds", "1", "--waiting", "5000", "--only", f"{WHO},fsync,journal"]
    places = ["--records", str(records), "--out", str(table), "--scratch", str(tmp_path / "stores")]

    assert main([*arguments, *places]) == 0

    found = Records(records).all()
    assert [record for record in found if record.error] == []
    assert {row.name for row in ROWS} - {"fsync"} <= rows_of(WHO, table)
    assert rows_of("fsync", table) == {"fsync"}


def test_the_table_can_be_written_again_from_what_was_measured(tmp_path: Path) -> None:
    """Protects ``--table``, ``--resume`` and ``--readme``: nothing twice, the same table."""
    records, table = tmp_path / "records", tmp_path / "RESULTS.md"
    places = ["--records", str(records), "--out", str(table), "--scratch", str(tmp_path / "stores")]
    asked = ["--quick", "--rounds", "1", "--only", "fsync", *places]
    main(asked)
    first, measured = table.read_text(encoding="utf-8"), Records(records).all()

    main([*asked, "--resume"])
    assert Records(records).all() == measured
    table.unlink()
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n", encoding="utf-8")
    main([*asked, "--table", "--readme", str(readme)])

    assert table.read_text(encoding="utf-8") == first
    above, *rows, below = readme.read_text(encoding="utf-8").splitlines()
    assert (above, below, rows[0], rows[-1]) == ("above", "below", BEGIN, END)
    assert len(rows) == 2 + 2 + len(ROWS) - 1
    assert "old" not in rows


@pytest.mark.parametrize(("power", "expected"), [(1, 1.0), (2, 2.0), (0, 0.0)])
def test_the_exponent_is_the_slope_of_the_cost(power: int, expected: float) -> None:
    """Protects the claim that cost grows linearly: the exponent of n**p is p."""
    assert exponent({size: 3.0 * size**power for size in (10, 20, 40)}) == pytest.approx(expected)


def test_a_system_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Protects against measuring nothing in silence after a typing error."""
    with pytest.raises(SystemExit):
        main(["--peers", "dboss"])
    assert "dboss" in capsys.readouterr().err
