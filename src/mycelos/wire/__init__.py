"""Messages that cross a border between zones: typed, frozen, and closed to unknown fields.

Nothing here does input or output, reads a clock or draws a random number.
"""
