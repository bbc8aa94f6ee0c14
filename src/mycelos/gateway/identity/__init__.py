"""Who is asking: one-time links, sessions, HTTP Basic and the command line's token."""
