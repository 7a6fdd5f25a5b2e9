"""`isthmus explain FILE NAME-OR-URI`: where a name goes, and why."""

from isthmus.cli.config import read
from isthmus.cli.terminal import plain
from isthmus.config.explain import explain


def explain_name(path: str, name: str) -> int:
    """Print which server of a configuration a name or URI goes to; 1 if to none."""
    has_way, lines = explain(read(path), name)
    print(plain(name))
    for line in lines:
        print(plain(line))
    return 0 if has_way else 1
