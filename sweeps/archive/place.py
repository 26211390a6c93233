"""The place of an archive: a URL, and the file system behind it.

pyarrow reaches S3, Google Cloud Storage, Azure and local folders itself; fsspec reaches others, for
which it may need a further package.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import pyarrow
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, FSSpecHandler, PyFileSystem

from quantlab import ConfigurationError
from quantlab.errors import CutShortError, in_full
from quantlab.files.partial import partial_of
from sweeps.printing.secrets import hide

OBJECT_STORAGES = ("s3", "gcs", "abfs")
"""Types of pyarrow's file systems that have objects, but neither folders nor a way to rename."""
_LOCAL = "local"
"""Type of the file system of ``file://``."""
_NO_FOLDER = "there is no such folder; create it, mount its file system, or correct the URL"
_BLOCK_BYTES = 1 << 20
"""Bytes of a request for a part of an object."""
_USERS_ARE_SECRETS = ("s3", "gs", "gcs", "http", "https")
"""Schemes in which a user before ``@`` is an access key."""


class ArchiveError(CutShortError):
    """The storage of an archive does not answer, or refuses a request; repeat it later."""


@dataclass(frozen=True)
class Place:
    """A folder of an object storage or of a file system."""

    url: str
    """The URL, which contains no secrets."""
    files: FileSystem
    folder: str
    """The path of the folder, without a slash at its end."""

    def files_in(self, folder: str) -> list[FileInfo]:
        """Return all files below a folder of this one, which need not exist.

        Raises:
            ArchiveError: see `ArchiveError`.
        """
        selector = FileSelector(f"{self.folder}/{folder}", allow_not_found=True, recursive=True)
        with self._told():
            found = self.files.get_file_info(selector)
        return [info for info in found if info.type == FileType.File]

    def require_bucket(self) -> None:
        """Require that the bucket, container or local folder exists, which is never created here.

        Otherwise, a file system that is not mounted would count as an empty archive.

        Raises:
            ConfigurationError: it does not exist.
            ArchiveError: see `ArchiveError`.
        """
        if self.files.type_name in OBJECT_STORAGES:
            bucket = self.folder.split("/")[0]
            if not self._exists(bucket):
                raise ConfigurationError(
                    f"--archive {self.url}: there is no bucket {bucket!r}; create it, or correct "
                    "the URL"
                )
        elif self._is_unmounted():
            raise ConfigurationError(f"--archive {self.url}: {_NO_FOLDER}")

    def _is_unmounted(self) -> bool:
        """Whether this is a local folder that does not exist."""
        return self.files.type_name == _LOCAL and not self._exists(self.folder)

    def _exists(self, path: str) -> bool:
        with self._told():
            (found,) = self.files.get_file_info([path])
        return bool(found.type != FileType.NotFound)

    @contextmanager
    def reading(self, path: str, block_bytes: int = _BLOCK_BYTES) -> Iterator[BinaryIO]:
        """Open a file that was listed.

        Args:
            path: path of the file.
            block_bytes: bytes of each request.

        Raises:
            ArchiveError: see `ArchiveError`.
        """
        with self._told():
            stream = self.files.open_input_stream(path, buffer_size=block_bytes)
        try:
            yield cast(BinaryIO, _Told(self, stream))
        finally:
            with suppress(Exception):  # everything was read
                stream.close()

    @contextmanager
    def writing(self, path: str, num_bytes: int) -> Iterator[BinaryIO]:
        """Write a file that others see as a whole or not at all.

        It is written under another name first. Two commands may write the same trial, neither of
        which must harm what the other writes, and pyarrow completes a file also if the block fails.

        Args:
            path: path of the file.
            num_bytes: its size. A file of another size is removed again.

        Raises:
            ArchiveError: see `ArchiveError`.
        """
        partial = str(partial_of(PurePosixPath(path)))
        has_folders = self.files.type_name not in OBJECT_STORAGES
        if self._is_unmounted():
            raise ArchiveError(f"--archive {self.url}: {_NO_FOLDER}")
        with self._told():
            if has_folders:
                self.files.create_dir(path.rpartition("/")[0], recursive=True)
            stream = self.files.open_output_stream(partial)
        try:
            yield cast(BinaryIO, _Told(self, stream))
            with self._told():
                stream.close()
                (found,) = self.files.get_file_info([partial])
                if found.size != num_bytes:
                    raise OSError(f"{found.size} of {num_bytes} bytes were stored")
                if has_folders:
                    self.files.move(partial, path)
                    return
                self.files.copy_file(partial, path)
        except BaseException:
            with suppress(Exception):
                stream.close()
            with suppress(Exception):
                self.files.delete_file(partial)
            raise
        with suppress(Exception):  # the key may not be allowed to delete anything
            self.files.delete_file(partial)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn errors of the storage into errors that name it, in one line without secrets.

        File systems of fsspec raise errors of the packages that they use, such as paramiko's.
        """
        try:
            yield
        except Exception as error:
            raise ArchiveError(f"--archive {self.url}: {_reason(error)}") from error


class _Told:
    """A stream whose errors are those of its place: `tarfile` would take them for damage."""

    def __init__(self, place: Place, stream: BinaryIO) -> None:
        self._place = place
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        with self._place._told():
            return self._stream.read(size)

    def write(self, data: bytes) -> int:
        with self._place._told():
            return self._stream.write(data)


def place_of(url: str) -> Place:
    """Return the place that a URL names.

    Nothing is requested from a server that holds it, except by file systems of fsspec that have a
    connection, such as ``sftp``.

    Raises:
        ConfigurationError: the URL is invalid or contains a password, its scheme is unknown, or a
            package for it is missing.
        ArchiveError: there is no such connection.
    """
    shown = hide(url)
    if not re.match(r"[A-Za-z][\w+.-]*://.", url):
        raise ConfigurationError(
            f"--archive {shown}: must be a URL, such as s3://bucket/folder or file:///folder"
        )
    parts = urlsplit(url)
    if shown != url or (parts.username and parts.scheme.lower() in _USERS_ARE_SECRETS):
        host = parts.netloc.rpartition("@")[2]
        raise ConfigurationError(
            f"--archive {parts.scheme}://{host}{parts.path}: must not contain a key or a password, "
            "which others could read; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write "
            "them to ~/.aws/credentials"
        )
    try:
        files, folder = _file_system(url)
    except ImportError as error:
        raise ConfigurationError(f"--archive {shown}: {in_full(error)}") from error
    except ArchiveError:
        raise
    except (ValueError, TypeError, OSError) as error:
        raise ConfigurationError(
            f"--archive {shown}: must be a URL of S3 (s3://), Google Cloud Storage (gs://), Azure "
            f"(abfs://), a local folder (file://) or another file system of fsspec "
            f"({hide(in_full(error))})"
        ) from error
    return Place(shown, files, folder.rstrip("/"))


def _file_system(url: str) -> tuple[FileSystem, str]:
    try:
        files, folder = FileSystem.from_uri(url)
        return files, str(folder)
    except pyarrow.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise
    from fsspec.core import url_to_fs

    # paramiko would also print the traceback of an error that it raises.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    try:
        found, folder = url_to_fs(url)
    except (ImportError, ValueError, TypeError):
        raise
    except Exception as error:
        raise ArchiveError(f"--archive {hide(url)}: {_reason(error)}") from error
    return PyFileSystem(FSSpecHandler(found)), str(folder)


def _reason(error: BaseException) -> str:
    """Describe an error of a storage in one line, and what to do about it."""
    text = hide(in_full(error))
    if found := _OF_AWS.search(text):
        says = found["says"].replace("No response body.", "The request is refused")
        text = f"{says} ({found['code']} in {found['request']})"
        text += f"; {_ADVICE[found['code']]}" if found["code"] in _ADVICE else ""
    return text


_OF_AWS = re.compile(
    r"AWS Error (?P<code>\w+) during (?P<request>\w+) operation: (?:curlCode: \d+, )?"
    r"(?P<says>.+?)(?:; Details: .*| \(Request ID: .*)?$"
)
"""What pyarrow says about an error of S3, after what it was doing."""
_KEYS = (
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials, and what the key "
    "may do"
)
_ADVICE = {
    "NO_SUCH_BUCKET": "create the bucket, or correct the URL",
    "ACCESS_DENIED": _KEYS,
    "INVALID_ACCESS_KEY_ID": _KEYS,
    "SIGNATURE_DOES_NOT_MATCH": _KEYS,
    "NETWORK_CONNECTION": "check the network, and AWS_ENDPOINT_URL if the server is not Amazon's",
}
"""The code of an error of S3 -> what to do."""
