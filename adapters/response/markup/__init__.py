"""Removes what a model writes into its text beside the answer: marks, reasoning and tool calls."""
