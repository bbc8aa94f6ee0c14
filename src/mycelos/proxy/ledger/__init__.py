"""The ledger's room in the proxy: its database, its one writer, and who may append what."""
