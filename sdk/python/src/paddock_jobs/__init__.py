"""Hand jobs to a Paddock server, and work on them.

``Client`` enqueues jobs and looks at them; ``Worker`` claims jobs of the kinds that it has handlers for. Nothing but
the standard library is needed.
"""

from .client import Client, ConnectionFailed, PaddockError
from .worker import Cancelled, Fail, Job, Worker

__all__ = ["Cancelled", "Client", "ConnectionFailed", "Fail", "Job", "PaddockError", "Worker"]
__version__ = "0.1.0"
