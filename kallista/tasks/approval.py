"""The task type ``approval``: a person decides, and no worker is held meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec import UNSET

from kallista.core import fields
from kallista.core.outcomes import Asks
from kallista.core.payloads import form_schema, payload_problems
from kallista.core.plain import plain, shown
from kallista.core.problems import Problems
from kallista.core.questions import OnReject, Question
from kallista.core.types import Json
from kallista.errors import UsageError

STATIC: Final = ("form", "on_reject")
"""What decides whether an answer is one has to be known when the approval is created."""

_WORDS: Final = {"approved": True, "rejected": False}


async def approval(
    title: object = "",
    prompt: object = "",
    form: object = None,
    approvers: object = (),
    default: object = None,
    on_reject: object = "fail",
) -> Asks:
    """Ask a person, and wait for the answer; that survives restarts and holds no worker.

    ``timeout`` of the task is how long to wait for the answer. The result has ``approved``, ``by``,
    ``comment``, and ``form``, what was filled in.

    Args:
        title: What it is called; the task's id when not said.
        prompt: What is to be decided.
        form: The JSON Schema of what is to be filled in.
        approvers: Who is asked, for people to read.
        default: What counts once the time is over: ``approved``, ``rejected``, or an object of
            ``approved``, ``comment`` and ``form``; without it the task fails.
        on_reject: What a rejection does: ``fail`` (the task fails), ``complete`` (it goes on, with
            ``approved`` false) or ``cancel`` (the task ends as CANCELLED).
    """
    problems = Problems()
    question = _question(title, prompt, form, approvers, default, on_reject, problems)
    if problems:
        raise UsageError("the approval cannot be asked", problems.lines)
    return Asks(question)


def check(config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
    """What is wrong with an approval, as far as it is known yet."""
    problems = Problems()
    for key in STATIC:
        if key in unresolved:
            problems.add(f"{key} has to be known beforehand; leave the ${{…}} out")
    known = {key: value for key, value in config.items() if key not in unresolved}
    _question(
        known.get("title", ""),
        known.get("prompt", ""),
        known.get("form"),
        known.get("approvers", ()),
        known.get("default"),
        known.get("on_reject", OnReject.FAIL.value),
        problems,
    )
    return problems.lines


def _question(
    title: object,
    prompt: object,
    form: object,
    approvers: object,
    default: object,
    on_reject: object,
    problems: Problems,
) -> Question:
    schema = None if form is None else form_schema(form, problems.at("form"))
    names = [approvers] if isinstance(approvers, str) else approvers
    found = [
        fields.name(name, "an approver", problems)
        for name in fields.sequence(names, "approvers", problems)
    ]
    return Question(
        title=_text(title, "title", problems),
        prompt=_text(prompt, "prompt", problems),
        schema=schema,
        approvers=tuple(name for name in found if name is not None),
        default=UNSET if default is None else _default(default, schema, problems),
        on_reject=_on_reject(on_reject, problems),
    )


def _text(value: object, what: str, problems: Problems) -> str:
    if not isinstance(value, str):
        problems.add(f"{what} must be a text, not {shown(value)}")
        return ""
    return value


def _on_reject(value: object, problems: Problems) -> OnReject:
    if isinstance(value, str) and value in set(OnReject):
        return OnReject(value)
    problems.add(f"on_reject must be one of {', '.join(OnReject)}, not {shown(value)}")
    return OnReject.FAIL


def _default(
    value: object, schema: Mapping[str, Json] | None, problems: Problems
) -> dict[str, Json]:
    """The answer that counts when nobody gives one."""
    data = value if isinstance(value, Mapping) else {"approved": value}
    place = problems.at("default")
    fields.known_keys(data, ("approved", "comment", "form"), place)
    said = data.get("approved")
    approved = _WORDS.get(said) if isinstance(said, str) else said
    if not isinstance(approved, bool):
        place.add(f"must be approved or rejected, or say so, not {shown(said)}")
        approved = False
    wrong: list[str] = []
    form = plain(data.get("form", {}), "form", wrong)
    place.add_all(wrong)
    if schema is not None and (approved or form):
        place.add_all(payload_problems(form, schema, "form"))
    elif not isinstance(form, dict):
        place.add(f"form must be an object of fields, not {shown(form)}")
    comment = data.get("comment", "nobody answered in time")
    return {
        "approved": approved,
        "by": None,
        "comment": _text(comment, "comment", place),
        "form": form,
        "timed_out": True,
    }
