"""Where each thing lies in the data folder: one place that knows the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATE_VARIABLE: Final = "XDG_STATE_HOME"
"""The user's folder for state (XDG Base Directory Specification), else `~/.local/state`."""


def state_directory(environ: Mapping[str, str]) -> Path | None:
    """The user's folder for state; None where the environment names neither it nor a home."""
    named = Path(environ.get(STATE_VARIABLE) or "")
    if named.is_absolute():
        return named
    home = Path(environ.get("HOME") or "")
    return home / ".local" / "state" if home.is_absolute() else None


@dataclass(frozen=True)
class DataLayout:
    """The paths below one data folder. Each zone writes below its own folder only."""

    root: Path

    @property
    def master_key(self) -> Path:
        """The master key's file, mode 0600, for the proxy alone."""
        return self.root / ".master_key"

    @property
    def master_key_next(self) -> Path:
        """The key that a rotation is about to put in the master key's place; at rest there is none."""
        return self.root / ".master_key.next"

    @property
    def master_key_draft(self) -> Path:
        """That key before it is whole. It opens nothing."""
        return self.root / ".master_key.next.draft"

    @property
    def proxy_token(self) -> Path:
        """The gateway's bearer at the proxy, mode 0600."""
        return self.root / ".proxy_token"

    @property
    def operator_file(self) -> Path:
        """The operator's settings."""
        return self.root / "operator.toml"

    @property
    def proxy(self) -> Path:
        """The proxy's folder, mode 0700."""
        return self.root / "proxy"

    @property
    def vault(self) -> Path:
        """The database of key slots, credentials and egress rules."""
        return self.proxy / "vault.sqlite"

    @property
    def ledger(self) -> Path:
        """The database of the audit ledger."""
        return self.proxy / "ledger.sqlite"

    @property
    def operator_socket(self) -> Path:
        """The operator's door."""
        return self.proxy / "operator.sock"

    @property
    def operator_token(self) -> Path:
        """The operator's token at that door, mode 0600, new at each start of the proxy."""
        return self.proxy / "operator.token"

    @property
    def gateway(self) -> Path:
        """The one folder that the gateway writes, mode 0700. Nothing lies below it that anybody else decides by."""
        return self.root / "gateway" / "state"

    @property
    def gateway_file(self) -> Path:
        """The gateway's settings: beside the folder that it writes, not below, so that it cannot write its own."""
        return self.root / "gateway" / "gateway.toml"

    @property
    def gateway_database(self) -> Path:
        """Chats, agents, runs, sessions, models."""
        return self.gateway / "gateway.sqlite"

    @property
    def command_line_token(self) -> Path:
        """The command line's token at the gateway's API, mode 0600, new at each start of the gateway."""
        return self.gateway / "command-line.token"

    @property
    def gateway_head(self) -> Path:
        """The newest ledger head that the gateway was given."""
        return self.gateway / "ledger-head.json"

    @property
    def command_line_head(self) -> Path:
        """The newest ledger head that the command line has verified."""
        return self.root / "heads" / "command-line.json"

    def heads_outside(self, environ: Mapping[str, str], installation: str) -> Path | None:
        """The folder of what is remembered of ``installation`` outside of the data folder.

        None where there is no such place: what lies inside comes along with every copy, and proves nothing.
        """
        state = state_directory(environ)
        if state is None or state.resolve().is_relative_to(self.root.resolve()):
            return None
        return state / "mycelos" / "heads" / installation

    @property
    def workspaces(self) -> Path:
        """One folder a run. The spawner makes them; the gateway reaches none."""
        return self.root / "gateway" / "workspaces"

    @property
    def run(self) -> Path:
        """Process ids and sockets of a running system."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """The log of a system that the installer started; another one's is where its stderr goes."""
        return self.run / "serve.log"

    @property
    def supervisor_state(self) -> Path:
        """What the running supervisor says of itself and its processes."""
        return self.run / "supervisor.json"
