"""`typed.py`, which the type checker passes in the gates, leaves out no public name."""

import importlib
from pathlib import Path

import isthmus

USED = Path(__file__).with_name("typed.py").read_text(encoding="utf-8")


def test_every_public_name_is_used_and_loads() -> None:
    for name in isthmus.__all__:
        assert f" {name}," in USED, name
        assert getattr(isthmus, name) is not None


def test_the_file_can_be_imported() -> None:
    module = importlib.import_module("tests.library.typed")
    assert len(module.server.own_components("tools")) == 3
