"""The runner: one agent's loop in one sandbox. It holds one conversation and one socket, and nothing else.

It imports `mycelos.wire` alone of ours.
"""
