"""Definition files: plain data within bounds, no surprises, and every problem with its place."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kallista.cli import yaml_text
from kallista.cli.files import load_file, load_value
from kallista.cli.yaml_text import MAX_DEPTH, MAX_VALUES, load_yaml
from kallista.errors import NotFoundError, UsageError


@pytest.fixture(params=["C", "Python"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers of PyYAML: where there is no compiled one, the other has to do."""
    loader = yaml.SafeLoader if request.param == "Python" else yaml_text._Loader
    monkeypatch.setattr(yaml_text, "_Loader", loader)


def loaded(folder: Path, content: str | bytes, name: str = "file.yaml") -> object:
    """What a file of this content holds."""
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    return load_file(str(folder / name))


def problems(folder: Path, content: str | bytes, name: str = "file.yaml") -> list[str]:
    """What is wrong with a file of this content; places without the folder."""
    with pytest.raises(UsageError) as caught:
        loaded(folder, content, name)
    return [problem.replace(f"{folder / name}", name) for problem in caught.value.problems]


@pytest.mark.usefixtures("reader")
class TestYaml:
    """YAML, by either parser."""

    def test_words_stay_texts(self, tmp_path: Path) -> None:
        """Nobody means true by ``on`` or 750 by ``12:30``; YAML 1.2 reads them as texts."""
        text = "[on, off, yes, no, y, n, 12:30, 1_000, 2026-01-31, 0x1F, 0o17, 017, true, ~, 1e3]"
        assert loaded(tmp_path, text) == [
            "on", "off", "yes", "no", "y", "n", "12:30", "1_000", "2026-01-31", 31, 15, 17, True,
            None, 1000.0,
        ]  # fmt: skip

    def test_keys_are_texts(self, tmp_path: Path) -> None:
        """A key that looks like a number or a boolean is what is written."""
        assert loaded(tmp_path, "{on: 1, 2: 2, true: 3}") == {"on": 1, "2": 2, "true": 3}

    def test_a_key_twice_is_a_problem_with_its_place(self, tmp_path: Path) -> None:
        """The last one would win silently; all of them are told at once."""
        text = "a: 1\nb:\n  c: 1\n  c: 2\na: 2\n"
        assert problems(tmp_path, text) == [
            "file.yaml:4:3: the key 'c' stands there twice",
            "file.yaml:5:1: the key 'a' stands there twice",
        ]

    def test_no_objects_are_made(self, tmp_path: Path) -> None:
        """A tag that would call Python code is an error, not a call."""
        text = "a: !!python/object/apply:os.system ['echo no']\n"
        (problem,) = problems(tmp_path, text)
        assert problem.startswith("file.yaml:1:4: the tag ")

    def test_merge_keys_are_read(self, tmp_path: Path) -> None:
        """``<<`` takes over what is not said here."""
        text = "base: &base {retry: 1, type: a}\nstep:\n  <<: *base\n  type: b\n"
        assert loaded(tmp_path, text) == {
            "base": {"retry": 1, "type": "a"},
            "step": {"retry": 1, "type": "b"},
        }

    def test_a_billion_laughs_stay_small(self, tmp_path: Path) -> None:
        """Aliases of aliases count as what they stand for, and are never written out."""
        lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
        (problem,) = problems(tmp_path, "\n".join(lines))
        assert f"more than {MAX_VALUES:,} values" in problem

    def test_an_alias_of_what_holds_it_is_an_error(self, tmp_path: Path) -> None:
        """A value that holds itself would never end."""
        (problem,) = problems(tmp_path, "a: &a [1, *a]")
        assert problem.startswith("file.yaml:1:11: ")

    @pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 10_000, 100_000])
    def test_depth_is_bounded(self, tmp_path: Path, depth: int) -> None:
        """However deep it goes, it is a clear error and no crash."""
        (problem,) = problems(tmp_path, "[" * depth + "]" * depth)
        assert f"more than {MAX_DEPTH} levels deep" in problem

    def test_the_deepest_that_is_allowed(self, tmp_path: Path) -> None:
        """The bound itself is fine."""
        assert loaded(tmp_path, "[" * MAX_DEPTH + "]" * MAX_DEPTH)

    def test_wrong_yaml_has_its_place(self, tmp_path: Path) -> None:
        """The line and column where reading ended."""
        (problem,) = problems(tmp_path, "a: 1\nb: [1, 2\nc: 3\n")
        assert problem.startswith("file.yaml:3:")

    def test_a_tab_has_its_place(self, tmp_path: Path) -> None:
        """Tabs cannot indent; the message says where one stands and what to do."""
        assert problems(tmp_path, "a:\n\tb: 1\n") == [
            "file.yaml:2:1: a tab cannot stand here; indent with spaces"
        ]

    def test_two_documents_are_one_too_many(self, tmp_path: Path) -> None:
        """A file holds one definition; the second is not dropped in silence."""
        (problem,) = problems(tmp_path, "a: 1\n---\nb: 2\n")
        assert problem.startswith("file.yaml:2:1: a second document")

    def test_control_characters(self, tmp_path: Path) -> None:
        """What YAML forbids has a place too."""
        (problem,) = problems(tmp_path, "a: 1\nb: \x07\n")
        assert "control character" in problem

    def test_a_marker_of_utf8_is_no_part_of_it(self, tmp_path: Path) -> None:
        """Editors on Windows put one in front."""
        assert loaded(tmp_path, "\N{BOM}kind: workflow\n".encode()) == {"kind": "workflow"}


def test_utf16_says_so(tmp_path: Path) -> None:
    """What PowerShell writes by default is told by name, with what to do."""
    assert problems(tmp_path, "kind: workflow".encode("utf-16")) == [
        "file.yaml is UTF-16; save it as UTF-8"
    ]


def test_another_encoding_says_where(tmp_path: Path) -> None:
    """The byte that is none of UTF-8."""
    assert problems(tmp_path, b"name: caf\xe9") == [
        "file.yaml is no UTF-8 at byte 9; save it as UTF-8"
    ]


def test_an_empty_file_is_nothing(tmp_path: Path) -> None:
    """It is read as null; what a definition is, others check."""
    assert loaded(tmp_path, "") is None
    assert loaded(tmp_path, "# only a comment\n") is None


def test_too_large_is_read_no_further(tmp_path: Path) -> None:
    """The bound is in bytes, and the message says how to go on."""
    file = tmp_path / "large.yaml"
    file.write_bytes(b"a" * 101)
    with pytest.raises(UsageError, match="larger than 100 bytes"):
        load_file(str(file), 100)
    assert load_file(str(file), 101) == "a" * 101


def test_json_twice(tmp_path: Path) -> None:
    """Also in JSON no key may stand twice, and the place is told."""
    assert problems(tmp_path, '{"a": 1,\n "a": 2}', "file.json") == [
        "file.json:2:2: the key 'a' stands there twice"
    ]


def test_wrong_json_has_its_place(tmp_path: Path) -> None:
    """Line and column, and that it was read as JSON."""
    (problem,) = problems(tmp_path, '{"a": 1,\n "b" 2}', "file.json")
    assert problem.startswith("file.json:2:6: this is no JSON: ")


def test_deep_json(tmp_path: Path) -> None:
    """Nesting is bounded here as well."""
    (problem,) = problems(tmp_path, "[" * 100_000, "file.json")
    assert "deep" in problem


@pytest.mark.parametrize("text", ["{a: 1}", '{"a": 1}'])
def test_standard_input_is_either(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` has no ending that says what it holds."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert load_file("-") == {"a": 1}


def test_no_such_file_names_the_nearest(tmp_path: Path) -> None:
    """A typo in a name is the likeliest reason."""
    (tmp_path / "inventory.yaml").touch()
    with pytest.raises(NotFoundError, match=r"did you mean .*inventory\.yaml\?"):
        load_file(str(tmp_path / "inventroy.yaml"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """It says so, on every system."""
    with pytest.raises(UsageError, match=r"is a folder|cannot be read"):
        load_file(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("true", True), ("[a, 1]", ["a", 1]), ("no", "no"), ("", None)]
)
def test_values_as_they_stand_in_yaml(text: str, value: object) -> None:
    """``--set`` takes what a file would say."""
    assert load_value(text, "--set key") == value


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(_PLAIN)
def test_json_is_yaml(value: object) -> None:
    """Any JSON text means the same to this reader, so one schema serves both."""
    assert load_yaml(json.dumps(value, ensure_ascii=False)) == value


@given(st.text())
def test_no_text_crashes_it(text: str) -> None:
    """Whatever a file holds: a value, or problems with places."""
    try:
        load_yaml(text)
    except yaml_text.YamlProblems as found:
        assert found.problems
        assert all(problem.message for problem in found.problems)
