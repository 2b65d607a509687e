"""`metrics.jsonl` on a disk and in a bucket."""

import pytest

from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.files import ReadError, WriteError, read_whole
from mixcon3d_jax.training import metrics_file
from mixcon3d_jax.training.metrics_file import MetricsFile, read_metrics


def rows_of(workdir) -> list[int]:
    return [row["step"] for row in read_metrics(workdir)]


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_a_later_process_goes_on_where_its_checkpoint_is(kind, tmp_path, bucket):
    workdir = as_path(tmp_path if kind == "disk" else f"{bucket}/run")
    first = MetricsFile(workdir, 0)
    for step in (2, 4, 6):
        first.add({"step": step, "loss": 0.5})
    first.close()
    assert rows_of(workdir) == [2, 4, 6]
    second = MetricsFile(workdir, 4)
    assert rows_of(workdir) == [2, 4]
    second.add({"step": 6, "loss": 0.25})
    second.flush()
    assert read_metrics(workdir)[-1] == {"step": 6, "loss": 0.25}


def test_rows_reach_a_disk_at_once(tmp_path):
    file = MetricsFile(tmp_path, 0)
    file.add({"step": 1})
    assert rows_of(tmp_path) == [1]
    file.close()


def test_rows_reach_a_bucket_now_and_then_and_when_told(bucket, cloud_storage, monkeypatch):
    workdir = as_path(f"{bucket}/run")
    file = MetricsFile(workdir, 0)
    cloud_storage.requests.clear()
    for step in range(10):
        file.add({"step": step})
    assert cloud_storage.requests == []
    file.flush()
    file.flush()  # nothing new
    assert [method for method, *_ in cloud_storage.requests] == ["POST"]
    assert rows_of(workdir) == list(range(10))
    monkeypatch.setattr(metrics_file, "SECONDS_BETWEEN_UPLOADS", 0.0)
    file.add({"step": 10})
    assert rows_of(workdir) == list(range(11))


def test_a_half_written_line_is_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    assert rows_of(tmp_path) == [1]
    MetricsFile(tmp_path, 5).close()
    assert read_whole(tmp_path / "metrics.jsonl") == b'{"step": 1}\n'


def test_a_bucket_without_permission(bucket, cloud_storage):
    workdir = as_path(f"{bucket}/run")
    file = MetricsFile(workdir, 0)
    cloud_storage.denied_writes.add(bucket.removeprefix("gs://"))
    file.add({"step": 1})
    with pytest.raises(WriteError, match=r"metrics\.jsonl can't be written .permission denied"):
        file.flush()
    cloud_storage.denied.add(bucket.removeprefix("gs://"))
    # Not taken for a run without any report yet.
    with pytest.raises(ReadError, match="permission denied"):
        MetricsFile(workdir, 0)
