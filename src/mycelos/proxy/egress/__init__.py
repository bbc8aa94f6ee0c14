"""The one way out: each request is decided, recorded, dialled, sent and scrubbed here, in one order."""
