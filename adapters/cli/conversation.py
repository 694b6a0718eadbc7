"""``Conversation``: a series of turns with one provider, and the slash commands that change it.

``adapters.agent`` runs a turn, ``adapters.cli.view`` prints it, and ``adapters.cli.terminal`` reads the lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from typing import TYPE_CHECKING

import click

from adapters.agent import run_turn
from adapters.cli.base import printable, report
from adapters.cli.demo_tools import DEMO_TOOLS, call_demo_tool
from adapters.cli.entry import PASS_THE_KEY
from adapters.cli.progress import Progress
from adapters.cli.view import JsonView, Screen
from adapters.errors import AdapterError, APIConnectionError, AuthenticationError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from adapters.agent import AnyTool
    from adapters.cli.view import View
    from adapters.config import ProviderConfig
    from adapters.tools.mcp_servers import McpServers
    from adapters.types import Message

_HELP = """\
/model [NAME]   show the model, or use another one
/tools [on|off] show the tools, or enable or disable them
/clear          forget the conversation
/bye            end the conversation (or Ctrl-D)
Ctrl-C stops a response; the text that was printed stays in the history."""
_NAMES_SHOWN = 3
_COMMAND = re.compile(r"/[a-z]+(?: |$)")
_CANNED = (
    "These answers are canned: a demo model. For a real one: adapters chat --base-url http://HOST:PORT/v1 -m MODEL,"
    " or model_path: FILE.gguf in config/providers.yaml."
)


class Conversation:
    """A conversation; use it in a ``with`` block, which closes the provider.

    Args:
        config: The provider, with its variables looked up.
        system: System message, or None.
        with_tools: Whether the model may call tools.
        mcp_servers: Servers whose tools are offered in place of the demo tools, or None.
        as_json: Whether each turn is printed as one JSON object.
        is_verbose: Whether the log is printed: no spinner is shown then, but the parts of each wait.
        is_ad_hoc: Whether the provider was described by options and not by a configuration file.
    """

    def __init__(
        self,
        config: ProviderConfig,
        *,
        system: str | None,
        with_tools: bool,
        mcp_servers: McpServers | None = None,
        as_json: bool,
        is_verbose: bool = False,
        is_ad_hoc: bool = False,
    ) -> None:
        self._config = config
        self._progress = Progress(config)
        self._start: list[Message] = [{"role": "system", "content": system}] if system else []
        self._messages = list(self._start)
        self._with_tools = with_tools
        self._mcp_servers = mcp_servers
        self._as_json = as_json
        self._is_verbose = is_verbose
        self._is_ad_hoc = is_ad_hoc
        self._runner = asyncio.Runner()
        if self._progress.is_demo and not as_json:
            click.secho(_CANNED, dim=True, err=True)
        if not as_json:
            for sentence in config.ineffective():
                _echo(sentence)

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._runner.run(self._aclose())
        finally:
            self._runner.close()

    async def _aclose(self) -> None:
        if self._mcp_servers is not None:
            await self._mcp_servers.aclose()
        await self._progress.provider.aclose()

    def ask(self, text: str) -> None:
        """Run one turn and keep its messages.

        Raises:
            AdapterError: If the turn failed; its messages are dropped.
            KeyboardInterrupt: If the turn was interrupted; the messages up to then are kept.
        """
        messages = [*self._messages, {"role": "user", "content": text}]
        view: View = JsonView(self._progress.provider)
        if not self._as_json:
            view = Screen(self._progress, may_spin=not self._is_verbose, shows_wait=self._is_verbose)
        try:
            self._runner.run(self._turn(messages, view))
        except KeyboardInterrupt:
            if messages[-1]["role"] != "user":
                self._messages = messages
            raise
        self._messages = messages

    def converse(self, lines: Iterable[str]) -> None:
        """Run a turn for each line; a failure, or Ctrl-C, ends only the turn."""
        self._prefill()
        for line in lines:
            try:
                if not _COMMAND.match(line):
                    self.ask(line)
                elif not self._run_command(*line[1:].split(maxsplit=1)):
                    return
            except AdapterError as error:
                report(str(error), as_json=self._as_json)
            except KeyboardInterrupt:
                click.secho("(stopped)", dim=True, err=True)

    def _prefill(self) -> None:
        """Send the conversation ahead while the person types; the event loop of the turns does not run then."""
        if self._progress.is_demo or self._mcp_servers is not None:
            return  # the demo evaluates nothing, and tools of MCP servers belong to the event loop of the turns

        def run() -> None:
            with contextlib.suppress(AdapterError):  # the first turn reports it
                asyncio.run(provider._prefill(messages, tools, {}))  # noqa: SLF001 - of the contract, for plug-ins

        provider, messages, tools = self._progress.provider, [*self._messages], DEMO_TOOLS if self._with_tools else None
        threading.Thread(target=run, name="adapters-prefill", daemon=True).start()

    async def _turn(self, messages: list[Message], view: View) -> None:
        tools: list[AnyTool] | None = None
        if self._with_tools:
            tools = [*(DEMO_TOOLS if self._mcp_servers is None else await self._mcp_servers.tools())]
        provider = self._progress.provider
        try:
            await self._progress.make_ready()
            view.begin()
            async with contextlib.aclosing(run_turn(provider, messages, tools, call_demo_tool)) as events:
                async for event in events:
                    view.show(event)
        except AdapterError as error:
            view.close()
            if not self._as_json:
                await self._print_hints(error, has_text=messages[-1]["role"] != "user")
            raise
        finally:
            view.close()

    async def _print_hints(self, error: AdapterError, *, has_text: bool) -> None:
        """Print what may help with an error; the error itself follows."""
        if isinstance(error, NotFoundError):
            await self._hint_at_models()
        elif isinstance(error, APIConnectionError):
            if self._config.base_url and not has_text:
                _echo(f"base_url is {self._config.base_url}")
        elif isinstance(error, AuthenticationError) and self._is_ad_hoc:
            _echo(PASS_THE_KEY)

    async def _hint_at_models(self) -> None:
        """Print model names that may have been meant or, if there is no list of models, how to check the address."""
        from adapters.models import list_models

        try:
            offered = [model.id for model in await list_models(self._config)]
        except AdapterError:
            option = f"--base-url {self._config.base_url}" if self._is_ad_hoc else f"-p {self._config.name}"
            address = f"base_url is {self._config.base_url}; " if self._config.base_url else ""
            _echo(f"{address}to check it, run: adapters doctor {option}")
            return
        self._hint_at_names(offered)

    def _hint_at_names(self, offered: list[str]) -> None:
        """Print the names nearest to that of the model, unless the server lists it."""
        from adapters.models import nearest_names

        names = nearest_names(self._config.model, offered) or offered[:_NAMES_SHOWN]
        if names and self._config.model not in offered:
            _echo(f"{self._config.name} offers {', '.join(names)}{' …' if len(offered) > len(names) else ''}")

    def _run_command(self, command: str, value: str = "") -> bool:
        """Run a slash command; return whether the conversation continues."""
        if command in ("bye", "exit", "quit"):
            return False
        if command == "clear":
            self._messages = list(self._start)
            _echo("The conversation was cleared.")
        elif command == "model":
            self._choose_model(value.strip())
        elif command == "tools":
            self._choose_tools(value.strip())
        else:
            _echo(_HELP if command == "help" else f"There is no /{command}.\n{_HELP}")
        return True

    def _choose_model(self, name: str) -> None:
        if name:
            self._config = self._config.with_options(model=name)
            former, self._progress = self._progress, Progress(self._config)
            self._runner.run(former.provider.aclose())
            self._runner.run(self._check_model())
            self._prefill()
        _echo(f"{self._progress.provider.model}, of {self._progress.provider.provider_name}")

    async def _check_model(self) -> None:
        """Warn if the server does not list the model; some servers accept more names than they list."""
        from adapters.models import list_models

        with contextlib.suppress(AdapterError):
            offered = [model.id for model in await list_models(self._config)]
            if offered and self._config.model not in offered:
                _echo(f"{self._config.name} does not list the model {self._config.model}.")
                self._hint_at_names(offered)

    def _choose_tools(self, value: str) -> None:
        if value in ("on", "off"):
            self._with_tools = value == "on"
        names: list[str] = [tool["function"]["name"] for tool in DEMO_TOOLS]
        if self._mcp_servers is not None:
            names = [tool.name or "" for tool in self._runner.run(self._mcp_servers.tools())]
        _echo(f"{', '.join(names) or 'none'} ({'on' if self._with_tools else 'off'})")


def _echo(text: str) -> None:
    click.secho(printable(text), dim=True, err=True)
