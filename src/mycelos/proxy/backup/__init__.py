"""Backups: made without the key, sealed for age recipients, and restored so that nothing revoked comes to life.

`create` makes one, `check` says whether one is whole, `restore` puts one in place, `reopen` decides what comes back.
"""
