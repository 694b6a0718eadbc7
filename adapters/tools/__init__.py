"""The tools of a turn: definitions for the model, running calls, and results that the model can read."""
