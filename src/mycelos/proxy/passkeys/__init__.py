"""Passkeys of the vault page: enrolled, checked and kept here, out of reach of the page's own process.

`store` decides, and is the one way in; `ceremony` checks what a browser sent, `challenges` what it was asked.
"""
