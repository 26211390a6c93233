"""The files of a storage: trial folders and their records, and the database of a study."""

from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.records import TrialState

__all__ = ["Storage", "TrialFolder", "TrialState"]
