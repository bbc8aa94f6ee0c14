"""Decisions about tool calls, as frozen values with reasons. Pure: no input or output, no clock, no randomness."""
