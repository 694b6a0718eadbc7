"""Turn payloads into text, tool calls, reasoning, usage, and one ``LLMResponse``."""
