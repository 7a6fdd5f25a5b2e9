"""The rows, by feature; importing this writes them all down."""

from tests.matrix.book import ROWS

from . import basics, features, questions, telling

__all__ = ["ROWS", "basics", "features", "questions", "telling"]
