"""The audit ledger's pure core: events, entries, their chain and its verification.

Nothing here does input or output, reads a clock or draws a random number.
"""
