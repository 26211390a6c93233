"""What lies on disk: trial folders and their records, and the database of a study."""

from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.records import TrialState

__all__ = ["Storage", "TrialFolder", "TrialState"]
