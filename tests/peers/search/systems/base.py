"""What the bench asks of a system."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

K = 10
Config = dict[str, Any]


def bucket(row: np.ndarray | int) -> np.ndarray | int:
    """The filter column, 0 to 99: rows are in random order, so that it says nothing of the vector."""
    return row % 100


class System(ABC):
    """An index in a folder, searched by one thread."""

    @abstractmethod
    def build(self, vectors: np.ndarray, folder: Path, how: Config, threads: int) -> float:
        """Writes the index; `vectors` have unit length. Returns the seconds that it took earlier, for another index, to
        make what this one uses too.
        """

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Makes the index ready for queries."""

    @abstractmethod
    def configure(self, config: Config, percent: int | None) -> None:
        """Search settings; with `percent`, only rows whose bucket is below it count."""

    @abstractmethod
    def prepare(self, queries: np.ndarray) -> None:
        """Puts queries into the form that the library takes, outside of what is timed."""

    @abstractmethod
    def search(self, at: int) -> Any:
        """Searches for one prepared query: this and nothing else is timed."""

    @abstractmethod
    def rows(self, found: Any) -> list[int]:
        """The rows in what `search` returned."""

    def search_batch(self) -> None:
        """Searches for all prepared queries in one call. Systems without such a call raise NotImplementedError."""
        raise NotImplementedError

    def index_bytes(self, folder: Path) -> int:
        """Bytes on disk of what is needed for search without filters."""
        return disk_bytes(folder)


def disk_bytes(folder: Path) -> int:
    """Allocated, not apparent, where files have holes; never more than the apparent size."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file() and path.name != "built.json"]
    return sum(min(file.st_blocks * 512, file.st_size) for file in files)
