"""The JSON routes. None of them returns or accepts secret material."""
