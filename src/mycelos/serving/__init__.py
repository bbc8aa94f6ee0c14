"""Serving HTTP/1.1, and naming what stopped it, alike for every zone that does."""
