"""What people see of many runs taken together."""

from __future__ import annotations

from collections.abc import Sequence

from kallista.cli.output import ago, print_table, say
from kallista.engine.reports import FailureExample, FailureGroup, SpendingSum


def show_failures(groups: Sequence[FailureGroup]) -> None:
    """A table of errors, and below it the newest failures of each."""
    rows = [(group.error, group.type, f"{group.count:,}") for group in groups]
    print_table(("error", "in", "failed"), rows, empty="nothing has failed")
    for group in groups:
        say(f"\n{group.error} in {group.type}", style="bold")
        newest = [_row(example) for example in group.examples]
        print_table(("", "", "", ""), newest, empty="", flexible=3)


def _row(example: FailureExample) -> tuple[str, ...]:
    task = str(example.task_id or "")
    step = "" if task == str(example.run_id) else task
    return example.run_id, step, ago(example.at), example.message.partition("\n")[0]


def show_spending(sums: Sequence[SpendingSum], by: str) -> None:
    """A table of sums."""
    rows = [(each.of, f"{each.amount:,f}", each.unit) for each in sums]
    print_table((by, "spent", ""), rows, empty="nothing was spent", flexible=0)
