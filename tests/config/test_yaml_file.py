"""YAML files: the line of each key, and mistakes in plain words."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.config.yaml_file import Document, read_yaml
from adapters.errors import ConfigError


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return tmp_path / "providers.yaml"


def _read(file: Path, text: str) -> Document:
    file.write_text(text, encoding="utf-8")
    return read_yaml(file)


def test_lines_of_keys(file: Path) -> None:
    """Each key is known by its path, with its line."""
    document = _read(file, "a:\n  b: 1\n  c:\n  - d: 2\n")

    assert document.data == {"a": {"b": 1, "c": [{"d": 2}]}}
    assert document.source.lines == {
        (): 1,
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", "0", "d"): 4,
    }


def test_keys_and_dates_are_text(file: Path) -> None:
    """Keys and dates stay text; YAML would convert them to a boolean, a number and a date."""
    assert _read(file, "yes: 1\n404: 2\n~: 2026-11-22\n").data == {"yes": 1, "404": 2, "~": "2026-11-22"}


def test_blocks_can_be_shared(file: Path) -> None:
    """Anchors and merge keys work, also for a node that contains itself."""
    assert _read(file, "a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}\n").data["c"] == {"k": 1, "l": 2}
    assert set(_read(file, "a: &x [1, *x]\n").data) == {"a"}


def test_repeated_keys(file: Path) -> None:
    """A repeated key is a problem of its second line; equal keys of other blocks are not."""
    problems = _read(file, "a:\n  k: 1\nb:\n  k: 1\na:\n  k: 2\n").problems

    assert [(problem.path, problem.text) for problem in problems] == [
        (("a",), "is there twice, first in line 1; remove one")
    ]


def test_byte_order_mark(file: Path) -> None:
    """A byte order mark is ignored."""
    assert _read(file, "\ufeffa: 1").data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        pytest.param("", ":1: the file is empty", id="empty"),
        pytest.param("# nothing\n", ":1: the file is empty", id="comments"),
        pytest.param("a:\n\tb: 1", ":2: a line is indented with a tab", id="tab"),
        pytest.param("a: 1\nb: @sk-hunter2", ":2: a value starts with a character", id="reserved character"),
        pytest.param("a: sk: hunter2", ":1: a second colon", id="second colon"),
        pytest.param("a:\n  b: 1\n  hunter2\n", ":3: a key has no colon", id="no colon"),
        pytest.param("a:\n  b: 1\n c: 2\n", ":3: the indentation does not fit", id="indentation"),
        pytest.param('a: "hunter2\n', ":1: a quote is never closed", id="open quote"),
        pytest.param("a: *hunter2", ":1: a value starts with *", id="asterisk"),
        pytest.param("a: !hunter2 b", ":1: a value starts with !", id="exclamation mark"),
        pytest.param("a: 1\n---\nb: hunter2", ":2: a second document", id="two documents"),
        pytest.param("a: 1\nb: hunter2\x00", ":2: there is an invisible character", id="zero byte"),
        pytest.param("a: ]", ":1: this is not YAML", id="bracket"),
        pytest.param("a: !!int hunter2", ": a value does not fit its tag", id="wrong int"),
        pytest.param("a: !!bool hunter2", ": a value does not fit its tag", id="wrong bool"),
        pytest.param("[" * 500, ": the file is nested too deeply", id="nested"),
        pytest.param("? [hunter2]\n: 1", ":1: this is not YAML", id="list as key"),
    ],
)
def test_invalid_yaml(file: Path, text: str, reported: str) -> None:
    """The error for invalid YAML has line and fix on one line, without the content."""
    with pytest.raises(ConfigError) as caught:
        _read(file, text)

    assert str(caught.value).startswith(f"{file}{reported}")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(file: Path) -> None:
    """The error for a missing file has its path and where the path comes from."""
    with pytest.raises(ConfigError, match="there is no such file; correct the path, or the variable ADAPTERS_CONFIG"):
        read_yaml(file)


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """The error for a file that cannot be opened has the reason of the system."""
    with pytest.raises(ConfigError, match="the file cannot be read"):
        read_yaml(tmp_path)


def test_file_that_is_not_utf_8(file: Path) -> None:
    """The error for another encoding says what to do."""
    file.write_bytes("a: é".encode("latin-1"))

    with pytest.raises(ConfigError, match="save it as UTF-8"):
        read_yaml(file)


_PIECES = st.sampled_from(
    [
        *("a", "b", ": ", "- ", "\n", "  ", "\t", "{", "}", "[", "]", "&x ", "*x", "<<", "? ", "|", ">", "'", '"', "#"),
        *("!", "!!int ", "!!set ", "!!bool ", "!!timestamp ", "!!omap ", "!!pairs ", "!!binary ", "---\n", "1", "0x"),
        "2026-13-45",
    ]
)


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_any_text_is_yaml_or_rejected(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Any content is read or rejected in one line."""
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    reported = ""
    try:
        _read(file, text)
    except ConfigError as error:
        reported = str(error)

    assert "\n" not in reported


def _bomb(levels: int, width: int) -> str:
    lines = [f"l0: &l0 [{', '.join('x' * width)}]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_bomb(9, 9), id="lists"),
        pytest.param(
            "a: &a {k: 1}\n"
            + "\n".join(
                f"{'abcdefghij'[n]}: &{'abcdefghij'[n]} {{x: *{'abcdefghij'[n - 1]}, y: *{'abcdefghij'[n - 1]}}}"
                for n in range(1, 10)
            )
            + "\n"
            + "\n".join(f"z{n}: [{', '.join(['*j'] * 20)}]" for n in range(30)),
            id="mappings",
        ),
        pytest.param(
            "a: &a {k: 1}\n"
            + "\n".join(f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]}}" for n in range(9)),
            id="merge keys",
        ),
        pytest.param(f"a: &a {'x' * 500_000}\nb: [{', '.join(['*a'] * 1_000)}]", id="a long text"),
    ],
)
def test_aliases_that_multiply(file: Path, text: str) -> None:
    """A small file that expands to millions of values is rejected before it is expanded."""
    with pytest.raises(ConfigError, match=r"stand for more than 100000 values"):
        _read(file, text)


def test_aliases_that_do_not_multiply(file: Path) -> None:
    """A block that a hundred providers share is accepted."""
    text = "a: &a {k: [1, 2, 3], l: {m: n}}\n" + "\n".join(f"b{n}: *a" for n in range(1_000))

    assert len(_read(file, text).data) == 1_001


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither")
def test_devices_and_pipes(tmp_path: Path) -> None:
    """A device without an end and a pipe without a writer are rejected at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for path in (Path("/dev/zero"), pipe):
        with pytest.raises(ConfigError, match="this is a device or a pipe; name a file"):
            read_yaml(path)


def test_large_file(file: Path) -> None:
    """A large file that was named by mistake is not read into memory."""
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        _read(file, "#" * 1_000_001)
