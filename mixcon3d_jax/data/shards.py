"""Writes records into ArrayRecord files."""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter

from mixcon3d_jax.data import schema
from mixcon3d_jax.files import WriteError

# One record a group: training reads single records in random order.  Embeddings and coordinates
# hardly shrink (by 1 % for 6 times the time), so nothing is compressed.
_OPTIONS = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class WrittenShard:
    """A finished shard.

    Attributes:
      path: where it lies.
      ids: of its records, in order.
      class_names: of its records, in order; "" for those without a class.
      num_bytes: size of the file.
      sha256: of the file, hexadecimal.
    """

    path: Path
    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    num_bytes: int
    sha256: str


def write_shard(path: Path, records: Iterable[schema.Record], embedding_size: int) -> WrittenShard:
    """Writes one ArrayRecord file; its memory does not grow with the number of records.

    Args:
      path: of the file, in a folder that exists.
      records: in the order in which they are to be stored.
      embedding_size: D of their embeddings.

    Raises:
      SchemaError: if a record breaks the contract.
      WriteError: if the disk is full or can't be written.
    """

    def examples() -> Iterator[tuple[str, str, bytes]]:
        for record in records:
            example = schema.encode_record(record, embedding_size)
            serialized = schema.serialize_example(example, embedding_size)
            yield record.id, record.class_name, serialized

    return write_examples(path, examples())


def write_examples(path: Path, examples: Iterable[tuple[str, str, bytes]]) -> WrittenShard:
    """As `write_shard`, of examples that are serialised already.

    Args:
      path: of the file, in a folder that exists.
      examples: id, class name and serialised example of every record.
    """
    ids, class_names = [], []
    size = 0
    writer = ArrayRecordWriter(str(path), _OPTIONS)
    try:
        for record_id, class_name, example in examples:
            writer.write(example)
            ids.append(record_id)
            class_names.append(class_name)
            size += len(example)
    finally:
        # The writer works in the background: `write` never fails, `close` tells of any failure.
        with explain_failure(path, size, RuntimeError):
            writer.close()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WrittenShard(path, tuple(ids), tuple(class_names), path.stat().st_size, digest)


def write_shards(
    directory: Path,
    name: str,
    records: Iterable[schema.Record],
    embedding_size: int,
    records_per_shard: int,
) -> list[WrittenShard]:
    """Fills shards `NAME-00000.shard`, ... in `directory` one after another; see `write_shard`."""
    shards: list[WrittenShard] = []
    rest = iter(records)
    for first in rest:
        path = directory / f"{name}-{len(shards):05d}.shard"
        others = itertools.islice(rest, records_per_shard - 1)
        shards.append(write_shard(path, itertools.chain([first], others), embedding_size))
    return shards


@contextmanager
def explain_failure(
    path: Path, needed: int | None = None, *others: type[Exception]
) -> Iterator[None]:
    """Turns the operating system's refusal to write into a message that says what to do.

    Args:
      path: what is written.
      needed: how many bytes it takes.
      *others: errors that mean a refusal, too.  ArrayRecord's writer raises `RuntimeError`, which
        anywhere else is a fault of the program.
    """
    try:
        yield
    except (OSError, *others) as error:
        size = "" if needed is None else f"; it takes {needed / 1e6:.2f} MB"
        raise WriteError(
            f"{path} cannot be written ({error}{size}); make room or choose another folder, then "
            "run the same command again"
        ) from error
