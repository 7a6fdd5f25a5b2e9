"""What a user's function can ask for from anywhere: the context it runs in, and the request's HTTP headers."""

from isthmus.components.context import Context as Context
from isthmus.components.context import get_context as get_context
from isthmus.components.context import get_http_headers as get_http_headers
from isthmus.components.context import get_http_request as get_http_request

__all__ = ["Context", "get_context", "get_http_headers", "get_http_request"]
