"""Runs: a person's message, a confined runner, and what comes of it."""
