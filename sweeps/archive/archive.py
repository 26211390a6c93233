"""Archive: the finished trials of storages, each as one object that is never changed.

The name of an object has the fingerprint of its trial, and the digest of the result in it::

    <URL>/trials/<fingerprint>/<digest>.tar

A list of the objects therefore tells which trials are there, and of which training. The first
result of a trial stays: another one is not written beside it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quantlab import ConfigurationError
from sweeps.archive.place import place_of
from sweeps.archive.trial_file import TrialFile, digest_of, read_result, unpack
from sweeps.storage.damage import warn_of_damage
from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import Result
from sweeps.storage.sealed_json import DamagedError, NewerError, plain

_SUFFIX = ".tar"
_HEAD_BYTES = 1 << 16
"""Bytes of the first request for an object of which only the result is read."""


@dataclass(frozen=True)
class Object:
    """An object with a finished trial."""

    path: str
    """Its path in the file system of the archive."""
    fingerprint: str
    digest: str
    """The digest of its result, according to its name."""


class Archive:
    """An archive at a URL."""

    def __init__(self, url: str) -> None:
        """Open an archive; no request is sent.

        Args:
            url: the URL, such as ``s3://bucket/folder``.

        Raises:
            ConfigurationError: see `place_of`.
        """
        self._place = place_of(url)
        self.url = self._place.url
        """The URL, for messages."""
        self._damaged: set[str] = set()
        """Paths of objects that are known to be damaged."""

    def objects(self) -> dict[str, list[Object]]:
        """Return all objects by the fingerprints of their trials, with one request for 1,000.

        Raises:
            ArchiveError: the archive does not answer, or there is no such bucket.
        """
        found = self._listed("trials")
        if not found:
            self._place.require_bucket()
        return found

    def objects_of(self, fingerprint: str) -> list[Object]:
        """Return the objects of a trial.

        Raises:
            ArchiveError: the archive does not answer.
        """
        return self._listed(f"trials/{fingerprint}").get(fingerprint, [])

    def put(self, folder: TrialFolder) -> bool:
        """Write a finished trial, unless the archive has it. Damaged objects do not count.

        If the archive has another training of it, a warning is printed if the results differ, and
        nothing is written.

        Args:
            folder: the folder of the trial.

        Returns:
            Whether the trial was written.

        Raises:
            ArchiveError: the archive does not answer, or refuses the trial.
            ConfigurationError: a file of the trial is missing or damaged.
        """
        found = self.objects_of(folder.fingerprint)
        others = [other for other in found if other.path not in self._damaged]
        digest = digest_of(folder)
        if any(other.digest == digest for other in others):
            return False
        own = folder.result.read()
        for other in others:
            theirs = self._whole_result_of(other)
            if theirs is None:
                continue
            if own is not None and not is_same_result(own, theirs):
                warn_of_damage(
                    self._name(other),
                    f"has another result of the trial, computed on {_where(theirs)}, than "
                    f"{folder.path} ({_where(own)})",
                    "it stays, and that of the folder is not archived",
                )
            return False
        file = TrialFile(folder)
        path = f"{self._place.folder}/trials/{folder.fingerprint}/{file.digest}{_SUFFIX}"
        with self._place.writing(path, file.num_bytes) as stream:
            file.write(stream)
        self._damaged.discard(path)
        return True

    def result_of(self, found: Object) -> Result | None:
        """Return the result in an object; None after a warning if it is damaged.

        Raises:
            ArchiveError: the archive does not answer.
        """
        try:
            with self._place.reading(found.path, _HEAD_BYTES) as stream:
                return read_result(stream, found.fingerprint, found.digest)
        except (DamagedError, NewerError) as error:
            self._warn(found, error)
            return None

    def num_intact(self, objects: Iterable[Object]) -> int:
        """Read all objects of a trial, and return how many are intact.

        A warning is printed for each other one, and if two that are intact contradict each other.

        Raises:
            ArchiveError: the archive does not answer.
        """
        whole = self._earliest_first(objects, self._whole_result_of)
        self._contradict(whole)
        return len(whole)

    def is_damaged(self, found: Object) -> bool:
        """Whether an object is known to be damaged. One of a later version is not."""
        return found.path in self._damaged

    def _whole_result_of(self, found: Object) -> Result | None:
        try:
            with self._place.reading(found.path) as stream:
                return read_result(stream, found.fingerprint, found.digest, fully=True)
        except (DamagedError, NewerError) as error:
            self._warn(found, error)
            return None

    def take(self, found: Object, folder: TrialFolder) -> bool:
        """Write a trial to its folder; the caller holds its lock.

        Args:
            found: an object of the trial.
            folder: the folder of the trial, which exists.

        Returns:
            Whether that was done; False after a warning if the object is damaged.

        Raises:
            ArchiveError: the archive does not answer.
            OSError: the folder cannot be written to.
        """
        try:
            with self._place.reading(found.path) as stream:
                unpack(stream, folder, found.digest)
        except (DamagedError, NewerError) as error:
            self._warn(found, error)
            return False
        return True

    def trusted(self, objects: list[Object]) -> list[Object]:
        """Return the objects of a trial to take it from, the earliest training first.

        There are several if two storages have written a trial at the same time. If their results
        differ, a warning names them, and none is trusted.

        Raises:
            ArchiveError: the archive does not answer.
        """
        if len(objects) == 1:
            return objects
        found = self._earliest_first(objects, self.result_of)
        if _different(found):  # a damaged object contradicts nothing
            found = self._earliest_first([one for one, _ in found], self._whole_result_of)
            if self._contradict(found):
                return []
        return [one for one, _ in found]

    def _earliest_first(
        self, objects: Iterable[Object], read: Callable[[Object], Result | None]
    ) -> list[tuple[Object, Result]]:
        """Return the objects that can be used with their results, the earliest training first."""
        found = [(one, result) for one in objects if (result := read(one)) is not None]
        return sorted(found, key=lambda one: one[1].time)

    def _contradict(self, found: list[tuple[Object, Result]]) -> bool:
        """Return whether intact objects have different results, after a warning that names them."""
        if (other := _different(found)) is None:
            return False
        warn_of_damage(
            self._name(other),
            f"has another result of the trial than {self._name(found[0][0])}",
            "neither is used; remove the wrong one",
        )
        return True

    def _listed(self, folder: str) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = defaultdict(list)
        for info in self._place.files_in(folder):
            *_, fingerprint, name = info.path.split("/")
            if name.endswith(_SUFFIX):
                one = Object(info.path, fingerprint, name.removesuffix(_SUFFIX))
                found[fingerprint].append(one)
        return dict(found)

    def _name(self, found: Object) -> str:
        return f"{self.url.rstrip('/')}/trials/{found.fingerprint}/{found.digest}{_SUFFIX}"

    def _warn(self, found: Object, error: ConfigurationError | DamagedError) -> None:
        what = "it is ignored"
        if isinstance(error, DamagedError):
            self._damaged.add(found.path)
            what += "; `sweeps archive --check` in the storage that wrote it writes it again"
        warn_of_damage(self._name(found), f"cannot be used ({error})", what)


def is_same_result(one: Result, other: Result) -> bool:
    """Return whether two trainings of a trial have computed the same."""
    return _computed(one) == _computed(other)


def _different(found: list[tuple[Object, Result]]) -> Object | None:
    """Return an object whose result is not that of the first one; None without one."""
    return next(
        (other for other, result in found[1:] if not is_same_result(found[0][1], result)), None
    )


def _computed(result: Result) -> tuple[object, ...]:
    numbers = (plain(result.validation), plain(result.test))  # NaN is not equal to itself
    return (result.state, result.epochs, *numbers, result.weights_sha256)


def _where(result: Result) -> str:
    return f"{result.host}, {result.device}"
