"""The gateway's tables. Every table has `tenant_id`; no type is SQLite's alone; times are RFC 3339 text in UTC."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _tenant() -> Column[str]:
    return Column("tenant_id", String(40), nullable=False)


AGENTS: Final = Table(
    "agents",
    METADATA,
    Column("id", String(40), primary_key=True),
    _tenant(),
    Column("name", String(64), nullable=False),
    Column("instructions", Text, nullable=False),
    Column("capabilities", JSON, nullable=False),
    Column("model", String(64)),
    Column("created_at", String(32), nullable=False),
    Column("updated_at", String(32), nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

MODELS: Final = Table(
    "models",
    METADATA,
    Column("id", String(40), primary_key=True),
    _tenant(),
    Column("name", String(64), nullable=False),
    Column("format", String(16), nullable=False),
    Column("base_url", Text, nullable=False),
    Column("model", String(256), nullable=False),
    Column("credential", String(64)),
    Column("created_at", String(32), nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

CHATS: Final = Table(
    "chats",
    METADATA,
    Column("id", String(40), primary_key=True),
    _tenant(),
    Column("title", Text, nullable=False),
    Column("agent", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("updated_at", String(32), nullable=False),
    Index(None, "tenant_id", "updated_at"),
)

RUNS: Final = Table(
    "runs",
    METADATA,
    Column("id", String(40), primary_key=True),
    _tenant(),
    Column("chat_id", String(40), ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("model", String(64)),
    Column("state", String(16), nullable=False),
    Column("code", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("finished_at", String(32)),
    Column("recorded", Boolean, nullable=False),
    Index(None, "chat_id"),
    Index(None, "recorded"),
)

MESSAGES: Final = Table(
    "messages",
    METADATA,
    Column("id", String(40), primary_key=True),
    _tenant(),
    Column("chat_id", String(40), ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE")),
    Column("role", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
    Index(None, "chat_id", "id"),
)

RUN_EVENTS: Final = Table(
    "run_events",
    METADATA,
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    _tenant(),
    Column("kind", String(32), nullable=False),
    Column("data", JSON, nullable=False),
    Column("at", String(32), nullable=False),
)

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("id", String(40), primary_key=True),
    _tenant(),
    Column("digest", String(64), nullable=False),
    Column("principal", String(128), nullable=False),
    Column("method", String(32), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("expires_at", String(32), nullable=False),
    UniqueConstraint("digest"),
)

LINKS: Final = Table(
    "links",
    METADATA,
    Column("digest", String(64), primary_key=True),
    _tenant(),
    Column("purpose", String(32), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("expires_at", String(32), nullable=False),
    Column("used_at", String(32)),
)

SETTINGS: Final = Table(
    "settings",
    METADATA,
    _tenant(),
    Column("key", String(64), nullable=False),
    Column("value", JSON, nullable=False),
    PrimaryKeyConstraint("tenant_id", "key"),
)
