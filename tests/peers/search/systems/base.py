"""The interface between the bench and a system."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

K = 10
Config = dict[str, Any]


def bucket(row: np.ndarray | int) -> np.ndarray | int:
    """The filter column, 0 to 99. Rows are in random order, so it is independent of the vector."""
    return row % 100


class System(ABC):
    """An index in a folder, searched by one thread."""

    @abstractmethod
    def build(self, vectors: np.ndarray, folder: Path, settings: Config, threads: int) -> float:
        """Builds and writes the index; `vectors` have unit length. Returns the seconds that shared parts took when they
        were built for another index.
        """

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Makes the index ready for queries."""

    @abstractmethod
    def configure(self, config: Config, percent: int | None) -> None:
        """Sets the search parameters; with `percent`, only rows whose bucket is below it are searched."""

    @abstractmethod
    def prepare(self, queries: np.ndarray) -> None:
        """Converts queries to the library's form. Not timed."""

    @abstractmethod
    def search(self, at: int) -> Any:
        """Searches for one prepared query. Only this is timed."""

    @abstractmethod
    def rows(self, found: Any) -> list[int]:
        """The row numbers in a result of `search`."""

    def search_batch(self) -> None:
        """Searches for all prepared queries in one call, or raises NotImplementedError if the system cannot."""
        raise NotImplementedError

    def index_bytes(self, folder: Path) -> int:
        """Bytes on disk that search without filters needs."""
        return disk_bytes(folder)


def disk_bytes(folder: Path) -> int:
    """Bytes on disk: allocated blocks if a file has holes, at most its apparent size."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file() and path.name != "built.json"]
    return sum(min(file.st_blocks * 512, file.st_size) for file in files)
