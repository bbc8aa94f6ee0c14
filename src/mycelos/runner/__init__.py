"""The runner: one agent's loop, alone in its sandbox with one socket. It imports the messages, nothing else of ours."""
