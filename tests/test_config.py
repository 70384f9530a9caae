from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kallista import Kallista
from kallista.config import Config, load_config, queue_limits, sqlite_path
from kallista.errors import UsageError


def load(
    folder: Path, config: Any = None, environ: Mapping[str, str] | None = None, **more: Any
) -> Config:
    """Settings of a program in a folder, with this environment and no other."""
    return load_config(config, environ=environ or {}, folder=folder, **more)


def problems(folder: Path, *given: Any, **more: Any) -> str:
    """What is wrong with settings, as one text."""
    with pytest.raises(UsageError) as caught:
        load(folder, *given, **more)
    return str(caught.value)


def test_defaults(tmp_path: Path) -> None:
    """Without any setting everything is in the working folder."""
    config = load(tmp_path)
    assert config == Config()
    assert config.store_path == "data/workflows/kallista.db"
    assert (config.logs_dir, config.max_concurrency, config.grace) == ("logs", 100, 10.0)
    assert (config.max_steps, config.max_payload_bytes, config.max_definition_bytes) == (
        10_000, 1024**2, 8 * 1024**2,
    )  # fmt: skip


def test_who_wins(tmp_path: Path) -> None:
    """An argument wins over the mapping, that over the environment, and that over the file."""
    (tmp_path / "kallista.toml").write_text(
        "max_concurrency = 1\ngrace = 1\nlog_level = 'debug'\nlogs_dir = 'l1'", encoding="utf-8"
    )
    environ = {"KALLISTA_MAX_CONCURRENCY": "2", "KALLISTA_GRACE": "2", "KALLISTA_LOGS_DIR": "l2"}
    config = load(
        tmp_path, {"max_concurrency": 3, "grace": 3}, environ, max_concurrency=4, logs_dir=None
    )
    assert (config.max_concurrency, config.grace, config.logs_dir, config.log_level) == (
        4, 3.0, "l2", "DEBUG",
    )  # fmt: skip


def test_pyproject(tmp_path: Path) -> None:
    """Settings may stand in pyproject.toml; kallista.toml is read instead of it."""
    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\nname = 'x'", encoding="utf-8")
    assert load(tmp_path) == Config()
    project.write_text("[tool.kallista]\ntasks = ['a', 'b.c']", encoding="utf-8")
    assert load(tmp_path).tasks == ("a", "b.c")
    (tmp_path / "kallista.toml").write_text("", encoding="utf-8")
    assert load(tmp_path).tasks == ()


def test_environment(tmp_path: Path) -> None:
    """Every field can be set in the environment, the store under its own name too."""
    environ = {
        "KALLISTA_STORE": "sqlite:///x.db",
        "KALLISTA_TASKS": "a, b",
        "KALLISTA_TIMEZONE": "Europe/Lisbon",
        "KALLISTA_LOG_LEVEL": "warning",
        "KALLISTA_GRACE": "",
        "KALLISTA_SOMETHING_OF_OTHERS": "1",
        "OTHER": "2",
    }
    config = load(tmp_path, environ=environ)
    assert (config.store_path, config.tasks, config.zone_name(), config.log_level) == (
        "x.db", ("a", "b"), "Europe/Lisbon", "WARNING",
    )  # fmt: skip
    assert config.grace == 10.0


def test_all_problems_at_once(tmp_path: Path) -> None:
    """Every wrong setting is told with its source, unknown ones with the nearest."""
    (tmp_path / "kallista.toml").write_text("max_concurency = 1\ngrace = -1", encoding="utf-8")
    text = problems(
        tmp_path,
        {"timezone": "Europe/Lisbonn"},
        {"KALLISTA_MAX_STEP": "1", "KALLISTA_MAX_STEPS": "0"},
    )
    for part in (
        "kallista.toml: max_concurency: there is no such setting; did you mean 'max_concurrency'?",
        "kallista.toml: grace: must be a number of seconds",
        "there is no variable KALLISTA_MAX_STEP; did you mean KALLISTA_MAX_STEPS?",
        "KALLISTA_MAX_STEPS: must be a whole number from 1 on, not '0'",
        "config: timezone: there is no time zone 'Europe/Lisbonn'; did you mean 'Europe/Lisbon'?",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_concurrency", True), ("max_concurrency", 1.5), ("max_concurrency", "x"),
        ("max_concurrency", 2**40), ("grace", "soon"), ("grace", float("nan")),
        ("log_level", "loud"), ("tasks", [1]), ("logs_dir", " "), ("data_dir", 5),
        ("queues", "gpu=0"), ("queues", ["gpu=x"]), ("queues", "gpu="),
    ],
)  # fmt: skip
def test_ill_typed(tmp_path: Path, setting: str, value: Any) -> None:
    """A value that does not fit is refused with the setting's name."""
    assert f"{setting}: must be" in problems(tmp_path, **{setting: value})


def test_queues_may_say_how_many_at_once(tmp_path: Path) -> None:
    """As a text of the command line, a list, or a table of a file; what is said last counts."""
    for value in ("default, gpu=2", ["default", "gpu=1", "gpu=2"], {"default": None, "gpu": 2}):
        config = load(tmp_path, {"queues": value})
        assert queue_limits(config.queues) == {"default": None, "gpu": 2}


def test_broken_files(tmp_path: Path) -> None:
    """A file that is no TOML is named."""
    (tmp_path / "kallista.toml").write_text("a = ", encoding="utf-8")
    assert "kallista.toml is no valid TOML" in problems(tmp_path)


def test_a_whole_config(tmp_path: Path) -> None:
    """A Config is taken as it is: only arguments change it, and the file is not looked at."""
    (tmp_path / "kallista.toml").write_text("grace = 1", encoding="utf-8")
    given = Config(grace=2.0)
    assert load(tmp_path, given) == given
    assert load(tmp_path, given, max_concurrency=7) == Config(grace=2.0, max_concurrency=7)


def test_the_store_follows_its_folder(tmp_path: Path) -> None:
    """data_dir moves the store, unless a URL says where it is."""
    assert load(tmp_path, data_dir="d").store_path == "d/kallista.db"
    assert load(tmp_path, Config(), data_dir="d").store_path == "d/kallista.db"
    assert load(tmp_path, data_dir="d", url="sqlite:///e.db").store_path == "e.db"


def test_the_machines_zone(tmp_path: Path) -> None:
    """Without a setting the machine's time zone is used, by its IANA name."""
    assert load(tmp_path).zone_name()


@pytest.mark.skipif(sys.platform == "win32", reason="a variable of POSIX")
@pytest.mark.parametrize(
    ("tz", "told"),
    [
        ("Asia/Kathmandu", "Asia/Kathmandu"),
        ("EST5EDT", "EST5EDT"),
        ("JST-9", "UsageError: the machine's time zone has no name"),
        ("<+0330>-3:30", "UsageError: the machine's time zone has no name"),
    ],
)
def test_the_zone_of_the_environment(tz: str, told: str) -> None:
    """Naive datetimes mean what the program's own clock shows, or it is said that nobody knows."""
    ask = "from kallista.config import load_config; print(load_config(environ={}).zone_name())"
    asked = subprocess.run(
        [sys.executable, "-c", ask],
        env={**os.environ, "TZ": tz},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told in asked.stdout + asked.stderr


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:///some/where.db", "some/where.db"),
        ("sqlite:////absolute/file.db", "/absolute/file.db"),
        ("sqlite:///C:/file.db", "C:/file.db"),
        ("sqlite:///C:\\file.db", "C:\\file.db"),
        ("sqlite:///with space%20.db", "with space%20.db"),
    ],
)
def test_urls(url: str, path: str) -> None:
    """URLs are read as SQLAlchemy writes them."""
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file.db", "write sqlite:///file.db"),
        ("/absolute.db", "write sqlite:////absolute.db"),
        ("sqlite://file.db", "three slashes"),
        ("sqlite:///", "names no file"),
        (":memory:", "kallista.testing"),
        ("sqlite:///:memory:", "kallista.testing"),
        ("sqlite:///a.db?mode=ro", "has options"),
        ("postgresql+asyncpg://host/db", "write postgresql://user@host/database"),
        ("mysql://host/db", "mysql:// is no store"),
        ("postgresql:/db", "write postgresql://user@host/database"),
    ],
)
def test_other_urls(tmp_path: Path, url: str, message: str) -> None:
    """What is no URL of a store says how to write one."""
    assert message in problems(tmp_path, url=url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db"),
        (
            "postgresql://me:s%40:x@a,b/db?sslmode=require",
            "postgresql://me:***@a,b/db?sslmode=require",
        ),
        ("postgresql://me:sec/ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec?ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:1,2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://a:1,b:2/db?user=x@y", "postgresql://a:1,b:2/db?user=x@y"),
        ("postgres://host/db?user=me&password=secret", "postgres://host/db?user=me&password=***"),
        ("postgresql+psycopg://me@host/db", "postgresql+psycopg://me@host/db"),
    ],
)
def test_postgresql_urls_are_shown_without_password(tmp_path: Path, url: str, shown: str) -> None:
    """A database is a store; its password never leaves the settings."""
    config = load(tmp_path, url=url)
    assert config.is_postgresql
    assert config.shown_url == shown
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("90d", (("", "90d"),)),
        (3600, (("", 3600),)),
        ("task=1d, workflow.FAILED=90d", (("task", "1d"), ("workflow.FAILED", "90d"))),
        (
            {"task": "1d", "workflow": {"FAILED": "90d", "COMPLETED": "7d"}},
            (("task", "1d"), ("workflow.FAILED", "90d"), ("workflow.COMPLETED", "7d")),
        ),
    ],
)
def test_retention(tmp_path: Path, given: Any, read: Any) -> None:
    """One length, a table, or what an environment variable can say of the same."""
    assert load(tmp_path, {"retention": given}).retention == read
    if isinstance(given, str):
        assert load(tmp_path, environ={"KALLISTA_RETENTION": given}).retention == read


def test_retention_in_a_file(tmp_path: Path) -> None:
    """As a table of pyproject.toml; what is wrong in it is told when the app is made."""
    project = tmp_path / "pyproject.toml"
    project.write_text("[tool.kallista.retention]\ntask = {FAILED = '9d'}", encoding="utf-8")
    assert load(tmp_path).retention == (("task.FAILED", "9d"),)
    with pytest.raises(UsageError, match=r"retention\.jobs: there is no kind of run"):
        Kallista(config={"retention": {"jobs": "9d"}})


def test_networks(tmp_path: Path) -> None:
    """Networks and addresses that requests may reach; a slip is told, and opens nothing."""
    given = ["10.1.0.0/16", "127.0.0.1", "fd00::/8"]
    assert load(tmp_path, {"http_allow": given}).http_allow == tuple(given)
    environ = {"KALLISTA_HTTP_ALLOW": ",".join(given)}
    assert load(tmp_path, environ=environ).http_allow == tuple(given)
    for wrong in ("10.1.0.1/16", "localhost", "10.1", 5):
        assert "http_allow" in problems(tmp_path, {"http_allow": [wrong]})
