"""Pictures of the command line for the README, of real runs: ``python -m tests.pictures`` takes them anew."""
