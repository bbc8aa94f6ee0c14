"""The operator's door on a real socket."""

from __future__ import annotations

import base64
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mycelos.configuration.layout import DataLayout


def load(name: str) -> ModuleType:
    """A module beside the tests' root conftest; test folders are no packages."""
    if name not in sys.modules:
        path = Path(__file__).resolve().parents[1] / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def operator_system(layout: DataLayout) -> Iterator[Any]:
    system = load("operator_system").OperatorSystem(layout)
    system.start()
    yield system
    system.close()


@pytest.fixture
def master_key_file() -> Callable[[DataLayout], None]:
    """Writes the key of `operator_system` into its file: a rotation replaces what lies there."""

    def write(layout: DataLayout) -> None:
        layout.master_key.write_bytes(base64.b64encode(load("operator_system").MASTER_KEY))
        layout.master_key.chmod(0o600)

    return write
