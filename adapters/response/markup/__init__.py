"""What a model writes into its text that must not be spoken: markers, reasoning and tool calls."""
