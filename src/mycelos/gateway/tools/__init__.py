"""The tools that agents can be granted, each behind the broker."""
