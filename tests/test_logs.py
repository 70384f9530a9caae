from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallista import logs
from kallista.errors import UsageError
from kallista.logs import (
    LogFile,
    is_secret,
    mask,
    mask_text,
    secret_values,
    setup_logging,
    task_logger,
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A log folder; everything that was set up is ended afterwards."""
    logger = logging.getLogger("kallista")
    before = (logger.level, list(logger.handlers))
    yield tmp_path / "logs"
    for handler in set(logger.handlers) - set(before[1]):
        logger.removeHandler(handler)
        handler.close()
    assert (logger.level, logger.handlers) == before


def lines(file: Path) -> list[dict[str, Any]]:
    """What a log file holds."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


class TestMasking:
    @pytest.mark.parametrize(
        "key",
        [
            "password", "PASSWORD", "db_password", "token", "access_token", "accessToken", "secret",
            "client_secret", "api_key", "apiKey", "API-KEY", "X-Api-Key", "apikey", "authorization",
            "Authorization", "credential", "credentials", "private_key", "privateKey", "passphrase",
            "AWS_SECRET_ACCESS_KEY", "set-cookie",
        ],
    )  # fmt: skip
    def test_secret_keys(self, key: str) -> None:
        """Keys with a secret word, however it is written, hide their value."""
        assert is_secret(key)
        assert mask({key: "value"}) == {key: "***"}

    @pytest.mark.parametrize(
        "key",
        ["max_tokens", "tokens", "tokenizer", "secretary", "key", "primary_key", "api", "keyboard",
         "author", "passport", "compass", "monkey", "apiKeys", ""],
    )  # fmt: skip
    def test_other_keys(self, key: str) -> None:
        """A key that only contains the letters of a secret word hides nothing."""
        assert not is_secret(key)

    def test_nested(self) -> None:
        """Secrets are hidden at any depth, and nothing is changed in place."""
        config = {"a": [{"token": "x", "b": 1}], "credentials": {"user": "u"}, "password": None}
        assert mask(config) == {
            "a": [{"token": "***", "b": 1}], "credentials": "***", "password": None,
        }  # fmt: skip
        assert config["a"] == [{"token": "x", "b": 1}]

    def test_texts(self) -> None:
        """A secret of a config is hidden in messages, however it is quoted there."""
        config = {"db": {"password": 'it\'s \\ a\n"secret"'}, "user": "it"}
        secrets = secret_values(config)
        password = config["db"]["password"]  # type: ignore[index]
        for text in (password, repr(password), json.dumps(password)):
            assert "secret" not in mask_text(f"cannot log in with {text}!", secrets)

    def test_parts_that_turn_up_alone(self) -> None:
        """The token behind Bearer, and the lines of a key, are hidden alone too."""
        key = "-----BEGIN KEY-----\nabcdefghijkl\n-----END KEY-----"
        secrets = secret_values({"authorization": "Bearer abc.def.ghi", "private_key": key})
        assert mask_text("token abc.def.ghi and line abcdefghijkl", secrets) == (
            "token *** and line ***"
        )

    def test_numbers(self) -> None:
        """A number can be a secret; true, false and null are none."""
        assert mask_text("pin 481516", secret_values({"password": 481516})) == "pin ***"
        assert secret_values({"token": True, "secret": None, "password": ""}) == ()

    def test_short_ones(self) -> None:
        """A short secret is hidden where it stands alone, so that words stay readable."""
        assert mask_text("abcab ab, ab=1", secret_values({"token": "ab"})) == "abcab ***, ***=1"

    @given(st.text(min_size=4), st.text(), st.text())
    def test_no_secret_is_left(self, secret: str, before: str, after: str) -> None:
        """Whatever the secret and the text around it, the secret is not in what remains."""
        if not secret.strip() or secret in "***" or secret in before + logs.MASK + after:
            return
        text = mask_text(before + secret + after, secret_values({"token": secret}))
        assert secret not in text.replace(logs.MASK, "\0")


class TestFile:
    def test_lines_of_a_task(self, folder: Path) -> None:
        """Every line of a task carries run, task and attempt, and hides secrets."""
        end = setup_logging(folder)
        logger = task_logger(run="r", task="t", attempt=2)
        logger.info("made %d%% of %s", 100, "it", files=3, api_key="hush", more={"token": "hush"})
        try:
            int("broken")
        except ValueError:
            logger.bind(step=1).exception("failed")
        logger.debug("not shown")
        end()
        first, second = lines(folder / "kallista.log")
        assert (first["run"], first["task"], first["attempt"], first["files"]) == ("r", "t", 2, 3)
        assert (first["event"], first["level"]) == ("made 100% of it", "info")
        assert (first["api_key"], first["more"]) == ("***", {"token": "***"})
        assert first["time"].endswith("+00:00")
        assert (second["event"], second["level"], second["step"]) == ("failed", "error", 1)
        assert "ValueError: invalid literal" in second["exception"]

    def test_lines_of_the_engine(self, folder: Path) -> None:
        """Lines of the standard library's logger are written alike, also odd values."""
        end = setup_logging(folder, "DEBUG")
        logging.getLogger("kallista.engine").debug("claimed %d", 3)
        task_logger(run="r").info("odd", value=object(), text="é\n")
        end()
        first, second = lines(folder / "kallista.log")
        assert (first["event"], first["logger"]) == ("claimed 3", "kallista.engine")
        assert second["text"] == "é\n"

    def test_slips(self, folder: Path) -> None:
        """A log line whose values do not fit its text fails no task and is not lost."""
        end = setup_logging(folder)
        task_logger(run="r").info("%d done", "many")
        task_logger(run="r").info("100% done")
        end()
        first, second = lines(folder / "kallista.log")
        assert first["event"] == "%d done ('many',)"
        assert second["event"] == "100% done"

    def test_what_is_no_text(self, folder: Path) -> None:
        """A name that was no UTF-8 is written as well as can be, and costs no line."""
        folder.mkdir()
        file = LogFile(folder)
        file.emit(logging.makeLogRecord({"msg": "read \udcff"}))
        file.close()
        assert (folder / "kallista.log").read_text(encoding="utf-8") == "read \\udcff\n"

    def test_what_a_handler_says_moves_no_cursor(self) -> None:
        """On a terminal an event stays one line, whatever it is about; a traceback has several."""
        terminal = io.StringIO()
        end = setup_logging(None, terminal=terminal)
        error = ValueError("odd\x1b[2J")
        task_logger(run="r").warning("failed\x07\n12:00 forged", text="a\x1bb", exc_info=error)
        end()
        shown = terminal.getvalue()
        assert all(line.isprintable() for line in shown.split("\n"))
        assert "failed  12:00 forged" in shown.splitlines()[0]
        assert "ValueError: odd [2J" in shown.rstrip().splitlines()[-1]

    def test_rotation(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full file is put aside, and only so many are kept."""
        monkeypatch.setattr(logs, "FILE_BYTES", 300)
        monkeypatch.setattr(logs, "OLD_FILES", 2)
        end = setup_logging(folder)
        for number in range(20):
            task_logger(run="r").info("line", number=number)
        end()
        files = sorted(file.name for file in folder.glob("kallista.log*"))
        assert files == ["kallista.log", "kallista.log.1", "kallista.log.2"]
        assert lines(folder / "kallista.log")[-1]["number"] == 19

    def test_two_programs(self, folder: Path) -> None:
        """A second program on the folder writes a file of its own, a later one the first again."""
        end = setup_logging(folder)
        program = (
            "import logging, sys; from kallista import logs; logs.setup_logging(sys.argv[1]);"
            "logging.getLogger('kallista').warning('other')"
        )
        root = Path(__file__).parents[1]
        subprocess.run([sys.executable, "-c", program, str(folder)], cwd=root, check=True)
        assert lines(folder / "kallista.2.log")[0]["event"] == "other"
        end()
        subprocess.run([sys.executable, "-c", program, str(folder)], cwd=root, check=True)
        assert lines(folder / "kallista.log")[0]["event"] == "other"

    def test_no_folder(self, folder: Path) -> None:
        """A folder that cannot be made is told, with the setting to change."""
        folder.write_text("a file", encoding="utf-8")
        with pytest.raises(UsageError, match=r"logs cannot be written to .*logs_dir"):
            setup_logging(folder)

    def test_level(self, folder: Path) -> None:
        """A level that there is not is told."""
        with pytest.raises(UsageError, match="'LOUD' is no log level; there are DEBUG"):
            setup_logging(folder, "LOUD")

    def test_a_full_disk(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """When lines cannot be written the work goes on; it is said once."""
        end = setup_logging(folder)
        (handler,) = [h for h in logging.getLogger("kallista").handlers if h.level]

        def full(text: str) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(handler.stream, "write", full)  # type: ignore[attr-defined]
        logger = logging.getLogger("kallista")
        logger.warning("one")
        logger.warning("two")
        assert capsys.readouterr().err.count("log lines are lost") == 1
        end()


class TestTerminal:
    def test_readable(self, folder: Path) -> None:
        """A terminal gets lines for people, above its own level."""
        stream = io.StringIO()
        end = setup_logging(None, terminal=stream, terminal_level="INFO")
        task_logger(run="r", task="t", attempt=1).info("designed", views=3, password="hush")
        task_logger(run="r").debug("hidden")
        logging.getLogger("kallista.engine").error("broken")
        end()
        first, second = stream.getvalue().splitlines()
        assert "designed" in first
        assert "views=3" in first
        assert "run=r" in first
        assert "hush" not in first
        assert "broken" in second


class TestEmbedded:
    def test_the_programs_own_logging_is_untouched(self, folder: Path) -> None:
        """Root has the handlers and level it had, and a program's own handlers see our lines."""
        root = logging.getLogger()
        before = (root.level, list(root.handlers))
        seen: list[logging.LogRecord] = []
        own = logging.Handler()
        own.emit = seen.append  # type: ignore[method-assign]
        root.addHandler(own)
        end = setup_logging(folder)
        task_logger(run="r").warning("told", token="hush")
        end()
        root.removeHandler(own)
        assert (root.level, root.handlers) == before
        assert [record.getMessage() for record in seen] == ["told"]
        assert "hush" not in str(vars(seen[0]))

    def test_importing_sets_nothing_up(self) -> None:
        """Importing writes no file and no line, and does not import structlog."""
        program = (
            "import sys, logging, kallista.logs; logging.getLogger('kallista').error('silent');"
            "print('structlog' in sys.modules)"
        )
        root = Path(__file__).parents[1]
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
        )
        assert (done.stdout, done.stderr) == ("False\n", "")
