"""The claims' attacks, run where Mycelos runs: what was tried, what happened, what is not covered.

Nothing here is a hook in the product: a probe uses the doors that exist, a process confined like the zone, or a
disposable second instance of the same code.
"""
