"""Where each thing lies in the data folder: one place that knows the names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataLayout:
    """The paths below one data folder. Each zone writes below its own folder only."""

    root: Path

    @property
    def master_key(self) -> Path:
        """The master key's file, mode 0600, for the proxy alone."""
        return self.root / ".master_key"

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
        """The gateway's folder, mode 0700."""
        return self.root / "gateway"

    @property
    def gateway_file(self) -> Path:
        """The gateway's settings."""
        return self.gateway / "gateway.toml"

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

    @property
    def workspaces(self) -> Path:
        """One folder a run."""
        return self.gateway / "workspaces"

    @property
    def run(self) -> Path:
        """Process ids and sockets of a running system."""
        return self.root / "run"

    @property
    def supervisor_state(self) -> Path:
        """What the running supervisor says of itself and its processes."""
        return self.run / "supervisor.json"
