"""The one error of the sandbox: a wall cannot be put up."""

from __future__ import annotations

from enum import StrEnum


class Layer(StrEnum):
    """The walls, by the names that people see and that `sandbox.accept_missing` uses."""

    BUBBLEWRAP = "bubblewrap"
    CAPABILITIES = "capabilities"
    DESCRIPTORS = "descriptors"
    IDENTITY = "identity"
    INSTALLATION = "installation"
    LANDLOCK = "landlock"
    LANDLOCK_SCOPE = "landlock-scope"
    NO_NEW_PRIVILEGES = "no-new-privileges"
    RESOURCE_LIMITS = "resource-limits"
    SECCOMP = "seccomp"
    WORKSPACE = "workspace"


class SandboxRefused(Exception):
    """Nothing was started, because ``layer`` cannot hold. ``fix`` says what a person can do."""

    def __init__(self, layer: Layer, cause: str, fix: str) -> None:
        super().__init__(f"sandbox layer {layer.value} is missing: {cause}. {fix}")
        self.layer = layer
        self.cause = cause
        self.fix = fix


def explain(error: OSError) -> str:
    """What the system says of an error, without the path that it may carry."""
    return error.strerror or type(error).__name__
