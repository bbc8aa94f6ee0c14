"""Chats, messages, runs with their journal, agents, models, sessions, links and settings."""

from mycelos.gateway.store.store import Store

__all__ = ["Store"]
