"""A witness of other people's ledgers (C2SP tlog-witness), for another machine or another user. Its own zone."""
