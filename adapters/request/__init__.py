"""Out: from a question to the one request that asks it, shaped as this server takes it."""
