"""What happens next: ``decide`` looks at a run and a stimulus and drafts all that follows.

Pure: no clock, no luck, no I/O. Time is an argument, noise and ids are hashes, and a repeated or
outdated stimulus changes nothing.
"""

from kallista.core.decide.capacity import NO_CAPACITY, Capacity, NoCapacity
from kallista.core.decide.commands import possible
from kallista.core.decide.machine import decide
from kallista.core.decide.turns import queue_step

__all__ = ["NO_CAPACITY", "Capacity", "NoCapacity", "decide", "possible", "queue_step"]
