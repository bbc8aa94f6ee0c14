"""The command line: starts the system and talks to its doors. Each command imports what it needs when it runs."""
