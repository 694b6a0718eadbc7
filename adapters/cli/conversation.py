"""``Conversation``: turn after turn with one provider, and the commands that change it.

How a turn is run lives in ``adapters.agent``, what is shown of it in ``adapters.cli.view``, what a person types comes
from ``adapters.cli.terminal``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

import click

from adapters.agent import run_turn
from adapters.cli.base import printable, report
from adapters.cli.demo_tools import DEMO_TOOLS, call_demo_tool
from adapters.cli.progress import Progress
from adapters.cli.view import JsonView, Screen
from adapters.errors import AdapterError, APIConnectionError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from adapters.cli.view import View
    from adapters.config import ProviderConfig
    from adapters.types import Message

_HELP = """\
/model [NAME]   which model answers, or another one from now on
/tools [on|off] which tools it may call, or whether it may
/clear          forget what was said
/bye            end the conversation (or Ctrl-D)
Ctrl-C stops an answer; what was said of it stays said."""
_NAMES_TOLD = 3  # of models, when a name is wrong
_COMMAND = re.compile(r"/[a-z]+(?: |$)")
_CANNED = (
    "These answers are canned: a demo model. For a real one: adapters chat --base-url http://HOST:PORT/v1 -m MODEL,"
    " or model_path: FILE.gguf in config/providers.yaml."
)


class Conversation:
    """A conversation; use it in a ``with`` block, which closes the provider.

    Args:
        config: The provider, with its secrets looked up.
        system: What the model is told before, or None.
        with_tools: Whether it may call the demo tools.
        as_json: Whether each turn is one JSON object.
        may_spin: Whether something may move while a person waits.
    """

    def __init__(
        self, config: ProviderConfig, *, system: str | None, with_tools: bool, as_json: bool, may_spin: bool
    ) -> None:
        self._config = config
        self._asked = Progress(config)
        self._start: list[Message] = [{"role": "system", "content": system}] if system else []
        self._messages = list(self._start)
        self._with_tools = with_tools
        self._as_json = as_json
        self._may_spin = may_spin
        self._runner = asyncio.Runner()
        if self._asked.is_demo and not as_json:
            click.secho(_CANNED, dim=True, err=True)

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._runner.run(self._asked.provider.aclose())
        finally:
            self._runner.close()

    def ask(self, text: str) -> None:
        """Run one turn and remember it, as far as it came.

        Raises:
            AdapterError: If it failed; the question is forgotten.
            KeyboardInterrupt: If it was stopped; what was said stays.
        """
        asked = [*self._messages, {"role": "user", "content": text}]
        view: View
        view = JsonView(self._asked.provider) if self._as_json else Screen(self._asked, may_spin=self._may_spin)
        try:
            self._runner.run(self._turn(asked, view))
        except KeyboardInterrupt:
            if asked[-1]["role"] != "user":
                self._messages = asked
            raise
        self._messages = asked

    def converse(self, lines: Iterable[str]) -> None:
        """Run a turn for each line that a person types; a failure, and Ctrl-C, end no more than the turn."""
        for line in lines:
            try:
                if not _COMMAND.match(line):
                    self.ask(line)
                elif not self._obey(*line[1:].split(maxsplit=1)):
                    return
            except AdapterError as error:
                report(str(error), as_json=self._as_json)
            except KeyboardInterrupt:
                click.secho("(stopped)", dim=True, err=True)

    async def _turn(self, messages: list[Message], view: View) -> None:
        tools = DEMO_TOOLS if self._with_tools else None
        try:
            await self._asked.make_ready()
            view.begin()
            async with contextlib.aclosing(run_turn(self._asked.provider, messages, tools, call_demo_tool)) as events:
                async for event in events:
                    view.show(event)
        except NotFoundError:
            view.close()
            await self._name_models()
            raise
        except APIConnectionError:
            view.close()
            nothing_was_said = messages[-1]["role"] == "user"
            if nothing_was_said and self._config.base_url and not self._as_json:
                _tell(f"base_url is {self._config.base_url}")
            raise
        finally:
            view.close()

    async def _name_models(self) -> None:
        """Tell which models may have been meant, if that can be found out; the error itself follows."""
        from adapters.models import list_models, nearest_names

        if self._as_json or self._config.kind == "local":
            return
        with contextlib.suppress(AdapterError):
            offered = [model.id for model in await list_models(self._config)]
            names = nearest_names(self._config.model, offered) or offered[:_NAMES_TOLD]
            if names and self._config.model not in offered:
                _tell(f"{self._config.name} offers {', '.join(names)}{' …' if len(offered) > len(names) else ''}")

    def _obey(self, command: str, value: str = "") -> bool:
        """Do what a command says; returns whether the conversation goes on."""
        if command in ("bye", "exit", "quit"):
            return False
        if command == "clear":
            self._messages = list(self._start)
            _tell("Forgotten.")
        elif command == "model":
            self._choose_model(value.strip())
        elif command == "tools":
            self._choose_tools(value.strip())
        else:
            _tell(_HELP if command == "help" else f"There is no /{command}.\n{_HELP}")
        return True

    def _choose_model(self, name: str) -> None:
        if name:
            self._config = self._config.with_options(model=name)
            former, self._asked = self._asked, Progress(self._config)
            self._runner.run(former.provider.aclose())
        _tell(f"{self._asked.provider.model}, of {self._asked.provider.provider_name}")

    def _choose_tools(self, value: str) -> None:
        if value in ("on", "off"):
            self._with_tools = value == "on"
        names = ", ".join(f"{tool['function']['name']}" for tool in DEMO_TOOLS)
        _tell(f"{names} ({'on' if self._with_tools else 'off'})")


def _tell(text: str) -> None:
    click.secho(printable(text), dim=True, err=True)
