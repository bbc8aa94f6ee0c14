"""The operator's door: the one place where credentials, bindings and egress rules change.

`door` asks who it is and hands on to the routes, one module for each thing that an operator decides; every change
goes through `recorded`, which writes the intent before the effect and the outcome after it.
"""
