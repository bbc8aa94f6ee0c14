"""Who is given the ledger's checkpoints outside of this installation: a file, a witness with a URL, or both."""
