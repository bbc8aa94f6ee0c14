"""What a person sets: environment variables, `operator.toml`, `gateway.toml`, and where the data lives."""
