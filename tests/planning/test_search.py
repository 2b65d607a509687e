"""The search, with a made-up compiler whose programs take a known number of bytes."""

import dataclasses

from mixcon3d_jax.planning.options import Options
from mixcon3d_jax.planning.search import Search, ladder

CHIPS, SIZE = 256, 1280
START = Options(65_536, 1, "gather", False, "float32", 1)
GIB = 2**30


class Compiler:
    """State of half a GiB; every row takes so many MiB, half of it if rematerialised."""

    def __init__(self, row_mib=100, refuses_above=64 * GIB):
        self.row_mib, self.refuses_above = row_mib, refuses_above
        self.asked = []

    def __call__(self, options):
        self.asked.append(options)
        row = self.row_mib * 2**20
        row = row // 2 if options.remat else row
        row = row // 2 if options.dtype == "bfloat16" else row
        needed = GIB // 2 // options.fsdp + options.rows(CHIPS) * row
        if options.negatives == "gather":
            batch = options.batch_size
            needed += batch * SIZE * 16 + batch // CHIPS * batch * 32
        return needed if needed <= self.refuses_above else None


def search(compiler, limit=16 * GIB):
    return Search(compiler, CHIPS, limit, SIZE, split=CHIPS)


def test_what_fits_is_left_as_it_is():
    compiler = Compiler(row_mib=1)
    start = dataclasses.replace(START, batch_size=2048)
    assert search(compiler).proposal(start) == start
    assert compiler.asked == [start]


def test_changes_that_leave_the_mathematics_alone_come_first():
    compiler = Compiler(row_mib=56)
    found = search(compiler).proposal(START)
    assert found == dataclasses.replace(START, negatives="ring")
    # Two small programs of the config's own, which is close enough to be tried; none of the ring.
    assert [o.rows(CHIPS) for o in compiler.asked] == [8, 64, 256, 256]
    assert compiler.asked[-2:] == [START, found]


def test_micro_batches_come_when_that_is_not_enough():
    compiler = Compiler(row_mib=600)
    found = search(compiler).proposal(START)
    assert found == dataclasses.replace(START, negatives="ring", remat=True, accum_steps=8)
    assert [o for o in compiler.asked if o.batch_size == START.batch_size] == [found]
    assert len(compiler.asked) == 5


def test_nothing_fits():
    assert search(Compiler(), limit=GIB // 2**10).proposal(START) is None


def test_a_line_that_promised_too_much_is_not_believed():
    class Bent(Compiler):
        def __call__(self, options):
            needed = super().__call__(options)
            return None if options.rows(CHIPS) >= 64 else needed

    found = search(Bent(row_mib=200)).proposal(START)
    assert found.rows(CHIPS) == 32


def test_the_largest_batch_is_bracketed_with_few_programs():
    compiler = Compiler(row_mib=50)
    start = dataclasses.replace(START, batch_size=2048, negatives="ring")
    asked = search(compiler)
    assert asked.fits(start)
    # 15.5 GiB of rows of 50 MiB: 317, so 256.
    assert asked.largest_batch(start).batch_size == 256 * CHIPS
    assert [o.rows(CHIPS) for o in compiler.asked] == [8, 64, 256]


def test_one_small_program_is_enough_where_there_is_room():
    start = dataclasses.replace(START, batch_size=64 * CHIPS, negatives="ring")
    compiler = Compiler(row_mib=1)
    assert search(compiler).proposal(start) == start
    assert [o.rows(CHIPS) for o in compiler.asked] == [8, 64]


def test_the_largest_batch_in_micro_batches_has_their_number():
    start = Options(65_536, 8, "ring", True, "float32", 1)
    best = search(Compiler(row_mib=100)).largest_batch(start)
    assert best == dataclasses.replace(start, batch_size=256 * 8 * CHIPS)


def test_the_ladder_ends_with_everything():
    rungs = list(ladder(START, CHIPS, CHIPS))
    assert rungs[0] == START
    assert len(rungs) == len(set(rungs))
    assert rungs[-1] == Options(65_536, 256, "ring", True, "bfloat16", CHIPS)
