"""The settings of an MCP server: a command that is run (stdio transport), or an address (streamable HTTP)."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from adapters.config.problems import Source, read_problems
from adapters.config.sections import Section
from adapters.config.values import Headers, Seconds, Secret, look_up_all

if TYPE_CHECKING:
    from adapters.types import Json


def _split(command: Json) -> Json:
    """Split a command line as a shell does."""
    try:
        return shlex.split(command) if isinstance(command, str) else command
    except ValueError:
        raise ValueError("has a quotation mark that is not closed") from None


def _for_names(prefix: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,32}", prefix):
        raise ValueError("may have 32 letters, digits, _ and - at most")
    return prefix


_Command = Annotated[list[str], BeforeValidator(_split, json_schema_input_type=str | list[str]), Field(min_length=1)]
_Prefix = Annotated[str, AfterValidator(_for_names)]


class McpServerConfig(Section):
    """An MCP server whose tools a turn can use; ``McpServers`` connects to it."""

    command: _Command | None = Field(
        default=None, description="Command that starts the server, such as uvx mcp-server-time."
    )
    env: dict[str, Secret] = Field(default_factory=dict, description="Environment variables of the command.")
    url: str | None = Field(
        default=None, description="Address of a server with streamable HTTP, including its path (/mcp)."
    )
    headers: Headers = Field(default_factory=dict, description="Headers of each request to the url.")
    prefix: _Prefix = Field(default="", description="Prefix of the names of its tools, as in home_lights_off.")
    timeout_s: Seconds | None = Field(default=None, description="Time limit of each tool; null: that of the turn.")

    @classmethod
    def of(cls, text: str, *, prefix: str = "") -> Self:
        """Create the settings of a server from a command or an address.

        Raises:
            ConfigError: If it is neither.
        """
        key = "url" if text.startswith(("http://", "https://")) else "command"
        try:
            return cls.model_validate({key: text, "prefix": prefix})
        except ValidationError as error:
            raise Source("MCP server").error(read_problems(error, lambda _path: cls.model_fields)) from None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("needs either a command or a url")
        return self

    def resolved(self, name: str) -> Self:
        """Return a copy with the value of the variable in place of each ``os.environ/NAME``.

        Args:
            name: Name of the server, for errors.

        Raises:
            ConfigError: If a variable is not set.
        """
        found, problems = look_up_all({"env": self.env, "headers": self.headers, "url": self.url or ""})
        if problems:
            raise Source(name).error(problems)
        return self.model_validate({**dict(self), **found}) if found else self
