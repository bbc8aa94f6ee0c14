"""`mycelos db`: the databases; here the audit ledger."""

from __future__ import annotations

from cyclopts import App

app = App(name="db", help="The audit ledger: look at it, verify it.")
app.command("mycelos.cli.audit:app", name="audit", help="Look at the ledger of what crossed the proxy, and verify it.")
