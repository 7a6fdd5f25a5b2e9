"""Why a cell can't be, or why something else is seen in it than without a proxy."""

from enum import Enum


class Reason(Enum):
    """Every reason there is; its value is the sentence for the page."""

    SSE_IS_LEGACY = "HTTP+SSE is a transport of the legacy revisions only."
    # requests that one era has
    NO_INITIALIZE = "Legacy revisions are agreed on at `initialize`, which 2026-07-28 doesn't have."
    NO_DISCOVER = "`server/discover` is a request of 2026-07-28."
    NO_PING = "`ping` is a request of the legacy revisions."
    NO_SET_LEVEL = "`logging/setLevel` is a request of the legacy revisions."
    NO_ROOTS_CHANGED = "`notifications/roots/list_changed` is of the legacy revisions."
    NO_COMPLETE = "`notifications/elicitation/complete` is of 2025-11-25."
    NO_DEMAND = "2026-07-28 has no error that demands a URL: the client is asked to open it."
    NO_STATE = "Legacy revisions have no `requestState`."
    ONLY_THREE = "2026-07-28 has no way to ask in the middle of any request but calls, prompts and resources: refused."
    # what a revision can't say
    OBJECTS = "Before 2026-07-28 structured content is an object: another value becomes text."
    OLDER_FORMS = "Before 2025-11-25 titles stand in `enumNames`, and nobody chooses several."
    NO_OTHER_CODES = "2026-07-28 keeps this code for itself: the client sees -32603, with the server's error in it."
    NO_ERROR = "A retry can't say that the client answered with an error: the call ends with that error."
    # who does it
    ASKS_WHAT_IT_CAN = "The proxy asks a client only what it said that it can be asked."
    SAYS_IT_ITSELF = "It is the proxy that says it, with the result."
    SERVER_S = "It is the server's to say, and this one doesn't."
    MODERN_SERVER_S = "The state of a modern server is its own affair."
    UNTOLD = (
        "Only HTTP says that the question belongs to this request. Elsewhere it waits 30 s for a call that can be "
        "asked, and is refused then."
    )
    # what the SDKs do
    NO_EXTENSIONS = "SDK 2.x's servers don't say this in the legacy era, which has no `extensions`; 1.30's can."
    NO_PARTS = "SDK 2.x's modern servers match the URIs of resources exactly."
