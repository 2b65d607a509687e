"""A run's compiled programs, kept in its workdir: the next start reads them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from mixcon3d_jax.buckets import AnyPath, as_path, is_remote
from mixcon3d_jax.distributed.agreement import as_first_process_finds

CACHE_FOLDER = "compilation_cache"


@contextlib.contextmanager
def program_cache(workdir: AnyPath, enabled: bool) -> Iterator[str]:
    """While it is entered, what takes a second or more to compile is kept for later processes.

    A program that can't be read or written is compiled, with a warning of JAX's, each time.

    Args:
      workdir: of the run, entered by this run alone; the programs go to `compilation_cache` in it.
      enabled: else programs are not kept there.

    Yields:
      The folder that programs come from and go to: that of $JAX_COMPILATION_CACHE_DIR where it is
      set; empty if there is none.
    """
    given = jax.config.jax_compilation_cache_dir
    if given is not None or not enabled:
        yield given or ""
        return
    folder = as_path(workdir) / CACHE_FOLDER
    if not is_remote(folder):  # in a bucket a file is there when all of it has come
        as_first_process_finds(lambda: _remove_broken(Path(folder)))
    settings = {
        "jax_compilation_cache_dir": str(folder),
        # XLA's own caches know no buckets, and where they can't write, nothing is compiled.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    before = {name: getattr(jax.config, name) for name in settings}
    _configure(settings)
    try:
        yield str(folder)
    finally:
        _configure(before)


def _configure(settings: dict[str, str | None]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def _remove_broken(folder: Path) -> None:
    """Removes what a process that was killed, or had no more room, left half written.

    JAX would warn of it at every start, compile, and never replace it.
    """
    # There is no public way to look into an entry.
    from jax._src.compilation_cache import decompress_executable

    for path in folder.glob("*-cache"):
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            try:
                decompress_executable(content)
            except Exception:  # of zlib or zstandard, whichever JAX has found
                path.unlink()
