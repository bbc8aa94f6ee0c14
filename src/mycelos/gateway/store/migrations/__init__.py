"""Alembic's migrations of the gateway's database; run by `upgrade.py`, never by a command of its own."""
