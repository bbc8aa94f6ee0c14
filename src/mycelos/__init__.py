"""Mycelos: AI agents that can be trusted with keys. A package below this one is a trust zone."""

__version__ = "0.1.0"
