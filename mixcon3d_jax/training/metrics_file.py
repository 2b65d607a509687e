"""`metrics.jsonl`: a run's reports, a line each."""

import json
import time
from pathlib import Path

from mixcon3d_jax.buckets import AnyPath, as_path, is_remote
from mixcon3d_jax.files import WriteError, read_whole, write_whole

METRICS_FILE = "metrics.jsonl"
# An object in a bucket can't be appended to: all of it is written again, at most so often.
SECONDS_BETWEEN_UPLOADS = 30.0

Row = dict[str, float]


class MetricsFile:
    """The reports of a run in its workdir, which go on where an earlier process stopped.

    On a disk every row is there at once.  In a bucket rows wait until `flush` or the first `add`
    after half a minute.

    Args:
      workdir: of the run.
      start_step: rows of later steps are dropped, since those steps will be run again.

    Raises:
      WriteError: if the file can't be written.
    """

    def __init__(self, workdir: AnyPath, start_step: int):
        self._path = as_path(workdir) / METRICS_FILE
        self._rows = [row for row in read_metrics(workdir) if row["step"] <= start_step]
        self._unwritten = True
        self.flush()
        self._appended = None
        if not is_remote(self._path):
            self._appended = Path(self._path).open("a", buffering=1)  # noqa: SIM115

    def add(self, row: Row) -> None:
        """Adds a report.

        Raises:
          WriteError: if it can't be written.
        """
        if self._appended is not None:
            try:
                self._appended.write(_line(row))
            except OSError as error:
                raise WriteError.of(self._path, error) from error
            return
        self._rows.append(row)
        self._unwritten = True
        if time.monotonic() - self._written_at >= SECONDS_BETWEEN_UPLOADS:
            self.flush()

    def flush(self) -> None:
        """Returns when all reports are in the file.

        Raises:
          WriteError: if they can't be written.
        """
        if self._unwritten:
            write_whole(self._path, "".join(map(_line, self._rows)).encode())
            self._unwritten, self._written_at = False, time.monotonic()

    def close(self) -> None:
        """Writes what waits and closes the file."""
        self.flush()
        if self._appended is not None:
            self._appended.close()


def read_metrics(workdir: AnyPath) -> list[Row]:
    """The reports of a run; a last line that a killed process left half written is skipped.

    Raises:
      ReadError: if the file is there but can't be read.
    """
    rows = []
    for line in (read_whole(as_path(workdir) / METRICS_FILE) or b"").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"
