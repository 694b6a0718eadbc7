"""Back: from payloads to text that may be spoken, calls that may be run, and the whole answer."""
