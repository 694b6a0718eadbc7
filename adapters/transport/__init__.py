"""Across: LiteLLM, the connection, the deadlines; what comes back is payloads or one of our errors."""
