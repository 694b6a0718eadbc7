"""Tools of a turn: from a function, a definition or an MCP server to a result that the model can read."""
