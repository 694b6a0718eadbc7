"""A conversation on a terminal: keys, commands, history, Ctrl-C and SIGTERM."""

from __future__ import annotations

import re
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from adapters.cli.terminal import history_file, typed_lines
from adapters.testing.answers import reply, said, stream
from tests.cli.processes import SUNNY, WEATHER, Terminal, bodies, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from adapters.testing import ScriptedServer
    from tests.cli.processes import Start

pytest_plugins = ["adapters.testing.plugin"]

CTRL_D, CTRL_U, BACKSPACE, UP = "\x04", "\x15", "\x7f", "\x1b[A"
PROMPT = "> "
HALF = (*stream(said("Half"), done=False)[:-1], "hang")
"""A response that starts and then stalls."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a state folder of the test's own, and an ordinary terminal."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TERM", "xterm")
    return tmp_path / "state" / "caal-llm-adapters" / "chat_history"


def questions(server: ScriptedServer, request: int = -1) -> list[str]:
    """Return the user messages of a request."""
    return [message["content"] for message in bodies(server)[request]["messages"] if message["role"] == "user"]


def test_conversation(
    config: Path, server: ScriptedServer, start: Start, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversation shows a prompt, a spinner and answers, continues after an error, and ends with Ctrl-D."""
    refused = reply({"error": {"message": "bad"}}, "400 Bad Request")
    server.add("cli", (0.4, *WEATHER.stream), SUNNY, refused, SUNNY)
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal(start, "chat")

    for words, expected in (("weather?", "7 out,"), ("more", "Error: "), ("and?", "4 out,")):
        terminal.expect(PROMPT)
        terminal.type(f"{words}\r")
        terminal.expect(expected)
    terminal.expect(PROMPT)
    terminal.type(CTRL_D)

    assert terminal.wait() == 0
    assert "One moment.\r\n" in terminal.text
    assert "waiting for" in terminal.text, "the spinner shows the phase"
    assert "\x1b[?25l" in terminal.text, "a spinner hides the cursor"
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h"), "and shows it again at the end"
    assert not re.search(r"\x1b\[[\d;]*(3|4|9)\dm", terminal.text), "NO_COLOR is honoured"
    assert questions(server) == ["weather?", "and?"], "a question that failed is dropped"
    assert state.read_text(encoding="utf-8").splitlines() == ["weather?", "more", "and?"]
    assert stat.S_IMODE(state.stat().st_mode) == 0o600


def test_keys(config: Path, server: ScriptedServer, start: Start, state: Path) -> None:
    """Ctrl-U and Backspace stop at the prompt; Up recalls a line of an earlier conversation."""
    state.parent.mkdir(parents=True)
    state.write_text("from before\n", encoding="utf-8")
    state.chmod(0o644)
    terminal = Terminal(start, "chat")

    terminal.expect(PROMPT)
    terminal.type(f"wrong{CTRL_U}{BACKSPACE}{BACKSPACE}{UP}!\r")
    terminal.expect("4 out,")
    terminal.expect(PROMPT)
    terminal.type(CTRL_D)

    assert terminal.wait() == 0
    assert questions(server) == ["from before!"]
    assert stat.S_IMODE(state.stat().st_mode) == 0o600, "other users may not read it any more"
    assert "\x1b[1;36m> " in terminal.text
    assert "\x1b[1;36m> \x1b[0m" in terminal.text, "readline prints the colour and knows the width of the prompt"


def test_interrupt_ends_the_response(config: Path, server: ScriptedServer, start: Start) -> None:
    """Ctrl-C stops a response and closes its request; its text stays in the history, and the conversation continues."""
    server.add("cli", HALF, SUNNY)
    terminal = Terminal(start, "chat")

    terminal.expect(PROMPT)
    terminal.type("first\r")
    terminal.expect("Half")
    terminal.process.send_signal(signal.SIGINT)
    terminal.expect("(stopped)")
    wait_until(lambda: server.seen["cli"].gone_at)
    terminal.expect(PROMPT)
    terminal.type("second\r")
    terminal.expect("sunny.")
    terminal.expect(PROMPT)
    terminal.type("/bye\r")

    assert terminal.wait() == 0
    assert bodies(server)[-1]["messages"] == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "Half"},
        {"role": "user", "content": "second"},
    ]


def test_interrupt_before_the_first_text(config: Path, server: ScriptedServer, start: Start) -> None:
    """A question that was interrupted before any text is dropped."""
    server.add("cli", ("hang",), SUNNY)
    terminal = Terminal(start, "chat")

    terminal.expect(PROMPT)
    terminal.type("first\r")
    wait_until(lambda: bodies(server))
    terminal.process.send_signal(signal.SIGINT)
    terminal.expect("(stopped)")
    terminal.expect(PROMPT)
    terminal.type("second\r")
    terminal.expect("sunny.")
    terminal.expect(PROMPT)
    terminal.type(CTRL_D)

    assert terminal.wait() == 0
    assert questions(server) == ["second"]


def test_interrupts_at_the_prompt(config: Path, start: Start) -> None:
    """Ctrl-C at an empty prompt announces that a second one exits; that one exits with 130, without a traceback."""
    terminal = Terminal(start, "chat")

    terminal.expect(PROMPT)
    terminal.interrupt("Press Ctrl-C again to end the conversation.")
    terminal.expect(PROMPT)
    terminal.interrupt_until_the_end()

    assert terminal.wait() == 130
    assert "Traceback" not in terminal.text


def test_interrupt_clears_a_line(config: Path, server: ScriptedServer, start: Start) -> None:
    """Ctrl-C in a half-typed line clears it, however often, and never ends the conversation."""
    terminal = Terminal(start, "chat")

    terminal.expect(PROMPT)
    for _ in range(3):
        terminal.type("wrong")
        terminal.expect("wrong")
        terminal.interrupt(PROMPT)
    terminal.type("right\r")
    terminal.expect("4 out,")
    terminal.expect(PROMPT)
    terminal.interrupt("Press Ctrl-C again to end the conversation.")
    terminal.interrupt_until_the_end()

    assert questions(server) == ["right"]

    assert terminal.wait() == 130
    assert "Traceback" not in terminal.text


@pytest.mark.usefixtures("traced_children")
def test_interrupt_while_loading(config: Path) -> None:
    """Ctrl-C while LiteLLM is loading, which the spinner shows, ends the process at once."""

    def start_python(*args: str, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "adapters", *args], **streams)

    terminal = Terminal(start_python, "chat", "hi", stdin=None)

    terminal.expect("loading")
    terminal.process.send_signal(signal.SIGINT)

    assert terminal.wait() == 130
    assert "Traceback" not in terminal.text


def test_termination(config: Path, server: ScriptedServer, start: Start) -> None:
    """SIGTERM closes the request, shows the cursor again, and exits with 143."""
    server.add("cli", ("hang",))
    terminal = Terminal(start, "chat", "hi", stdin=None)

    terminal.expect("waiting for small")
    wait_until(lambda: bodies(server))
    terminal.process.send_signal(signal.SIGTERM)
    terminal.expect("\x1b[?25h")

    assert terminal.wait() == 143
    assert "Traceback" not in terminal.text
    wait_until(lambda: server.seen["cli"].gone_at)


def test_reasoning_is_shown(config: Path, server: ScriptedServer, start: Start) -> None:
    """While a model reasons, the spinner says so."""
    thought = stream({**said(""), "choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]}, done=False)[:-1]
    server.add("cli", (*thought, "hang"))
    terminal = Terminal(start, "chat", "hi", stdin=None)

    terminal.expect("small is thinking")
    terminal.process.send_signal(signal.SIGINT)

    assert terminal.wait() == 130


def test_commands(config: Path, server: ScriptedServer, start: Start) -> None:
    """Lines that begin with a slash and a word are commands; a path is not. The name of a model is checked."""
    server.add("cli", SUNNY, reply({"data": [{"id": "small"}, {"id": "larger"}]}), SUNNY)
    terminal = Terminal(start, "chat", "--system", "Be brief.")
    for line, expected in (
        ("/help", "/model [NAME]"),
        ("/nope", "There is no /nope."),
        ("/tools", "get_weather, get_time (on)"),
        ("/tools off", "get_weather, get_time (off)"),
        ("first", "4 out,"),
        ("/model", "small, of scripted"),
        ("/model large", "scripted does not list the model large."),
        ("/clear", "The conversation was cleared."),
        ("/etc/hosts?", "4 out,"),
    ):
        terminal.expect(PROMPT)
        terminal.type(f"{line}\r")
        terminal.expect(expected)
    terminal.expect(PROMPT)
    terminal.type("/bye\r")

    assert terminal.wait() == 0
    first, _, second = bodies(server)
    assert "scripted offers larger …" in terminal.text
    assert (first["model"], second["model"]) == ("small", "large")
    assert "tools" not in first
    assert second["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "/etc/hosts?"},
    ]


def test_answers_into_a_file(config: Path, start: Start, tmp_path: Path) -> None:
    """If stdout is a file, it holds the answers without the prompt."""
    with (tmp_path / "out.txt").open("wb") as out:
        terminal = Terminal(start, "chat", stdout=out.fileno())
        terminal.expect(PROMPT)
        terminal.type("hi\r")
        terminal.expect("4 out,")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)

        assert terminal.wait() == 0
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "It is sunny.\n"


def test_history_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a place for the history, a conversation works nevertheless."""
    (tmp_path / "state").write_text("a file where the folder would be", encoding="utf-8")
    lines = iter(["", "hi"])
    monkeypatch.setattr("builtins.input", lambda *_: next(lines))  # the typed lines

    assert next(typed_lines()) == "hi"


def test_history_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The history is stored in the user's state folder."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert history_file() == tmp_path / ".local" / "state" / "caal-llm-adapters" / "chat_history"
