"""The stream's own troubles: readings late, out of order, doubled, lost, broken, in bursts, or of wrong clocks."""

from producers.troubles.publish import SendPublisher
from producers.troubles.sends import Sends, Trouble
from producers.troubles.settings import MalformedKind, TroubleSettings, parse_troubles
from producers.troubles.stage import TroubleCounts, Troubles

__all__ = [
    "MalformedKind",
    "SendPublisher",
    "Sends",
    "Trouble",
    "TroubleCounts",
    "TroubleSettings",
    "Troubles",
    "parse_troubles",
]
