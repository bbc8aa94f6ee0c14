"""Serving HTTP/1.1, alike for every zone that does."""
