"""ByteText: a text of the user, in one file or in many, whose symbols are its bytes."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from tempfile import TemporaryFile

from torch import Tensor

from quantlab.datasets.loading.files import files_under, require_relative
from quantlab.datasets.text.windows import ByteDataset, mapped
from quantlab.errors import ConfigurationError, brief


@dataclass(frozen=True, kw_only=True)
class ByteText(ByteDataset):
    """A text in a file of the data folder, or in all files of a folder in it.

    A file is mapped to memory, of which only the parts that are needed are read. The files of a
    folder are joined in the order of their names, without anything between them, in a temporary
    file that is mapped as well.
    """

    path: str
    """Name of a file or a folder within the data folder."""
    pattern: str = "*"
    """Shell-style pattern of the names of the files in a folder and in the folders within it, such
    as ``"*.txt"``. Links are followed; hidden files and folders are left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_relative(self, "path")
        if not isinstance(self.pattern, str) or not self.pattern or "/" in self.pattern:
            raise ConfigurationError(
                f"ByteText.pattern = {brief(self.pattern)}: must be a pattern of names of files, "
                "such as '*.txt'"
            )

    @property
    def name(self) -> str:
        """Name in tables: that of the file or folder."""
        return PurePosixPath(self.path).name

    @property
    def files(self) -> tuple[str, ...]:
        """The file or folder."""
        return (self.path,)

    @property
    def file_pattern(self) -> str:
        """The pattern."""
        return self.pattern

    def check(self, data_dir: Path) -> None:
        """Check that the text exists and is long enough."""
        self._require_long_enough(sum(file.stat().st_size for file in self._found(data_dir)))

    def text(self, data_dir: Path) -> Tensor:
        """Return the bytes of the file, or of all files of the folder."""
        first, *others = self._found(data_dir)
        if not others:
            with first.open("rb") as file:
                return mapped(file)
        with TemporaryFile() as joined:
            for path in (first, *others):
                with path.open("rb") as file:
                    copyfileobj(file, joined)
            return mapped(joined)

    def _found(self, data_dir: Path) -> list[Path]:
        """Return the files of the text, at least one."""
        path = data_dir / self.path
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise ConfigurationError(
                f"ByteText.path = {self.path!r}: the file {path} does not exist; put the text "
                "there, or correct the name or the data folder"
            )
        found = sorted(
            map(Path, files_under(str(path), self.pattern)),
            key=lambda file: file.relative_to(path).as_posix(),
        )
        if not found:
            raise ConfigurationError(
                f"ByteText.pattern = {self.pattern!r}: the folder {path} has no such file"
            )
        return found
