"""Pictures of the command line for the documentation, from real runs; ``python -m tests.pictures`` takes them."""
