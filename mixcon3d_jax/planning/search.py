"""Looks for settings with which a step fits, and for the largest batch, with few compilations.

Memory grows in a straight line with the rows that a chip has in memory at once, so two small
programs say what a large one takes, and one says what it takes at most.  Whatever is answered has
been compiled, though; the line only decides what is worth it, as a program that is far too large
takes longest to be refused.
"""

import dataclasses
from collections.abc import Callable, Iterator

from mixcon3d_jax.planning.options import Options

# Rows a chip of the smallest program, and up to how many none is made to find out about others; and
# of the second one at most, as programs of large arrays take longer to compile.
_SMALL, _AT_ONCE, _SECOND = 8, 32, 64
# Rows a chip that no larger batch is looked for with.
_MOST = 4096
# Share of the memory that the line may miss by.
_MISS = 0.1
# Bytes of the rows that every chip gathers (four embeddings of D float32), and of its logits with
# them (four terms in two directions), for a row, and for a pair of rows.
_GATHERED_A_VALUE, _LOGITS_A_PAIR = 4 * 4, 4 * 2 * 4

# Bytes that a chip needs with some options, or None where the compiler refuses the program.
Needs = Callable[[Options], int | None]


@dataclasses.dataclass
class Search:
    """Compiles with one choice of options after another.

    Attributes:
      needs: compiles; it is asked once for each options.
      chips: that split a batch.
      limit: bytes a chip.
      embedding_size: D.
      split: over how many chips parameters may be split, at most.
    """

    needs: Needs
    chips: int
    limit: int
    embedding_size: int
    split: int = 1
    _known: dict[Options, int | None] = dataclasses.field(default_factory=dict)

    def fits(self, options: Options) -> bool:
        """Whether a step with these options fits: by compiling it."""
        needed = self._needed(options)
        return needed is not None and needed <= self.limit

    def proposal(self, start: Options) -> Options | None:
        """The first options that fit, with as few changes as possible, or None.

        First come changes that leave the mathematics alone: a ring of negatives, rematerialisation;
        then micro-batches, which BatchNorm sees; then parameters split over chips, and bfloat16.
        """
        for options in ladder(start, self.chips, self.split):
            if self._expected(options) <= self.limit * (1 + _MISS) and self.fits(options):
                return options
        return None

    def largest_batch(self, fitting: Options) -> Options:
        """The largest batch of a power of two of rows a chip that fits; nothing else is changed.

        Args:
          fitting: options that fit.
        """
        rows = fitting.rows(self.chips)
        guess = 1 << (rows.bit_length() - 1)
        while (
            guess < _MOST
            and self._expected(self._with_rows(fitting, 2 * guess), at_once=0) <= self.limit
        ):
            guess *= 2
        while guess > rows and not self.fits(self._with_rows(fitting, guess)):
            guess //= 2
        best = fitting if guess <= rows else self._with_rows(fitting, guess)
        if guess >= _MOST:
            return best
        # The line may have been too careful.
        larger = self._with_rows(fitting, 2 * guess)
        worth_it = self._expected(larger, at_once=0) <= self.limit * (1 + _MISS)
        return larger if worth_it and self.fits(larger) else best

    def _expected(self, options: Options, at_once: int = _AT_ONCE) -> float:
        """Bytes that smaller programs let expect; 0, whatever they say, for at most `at_once` rows.

        It may be too much, but only as long as it is below the limit.
        """
        rows = options.rows(self.chips)
        if rows <= at_once:
            return 0.0
        gathering = dataclasses.replace(options, negatives="gather")
        if options.negatives == "ring" and not self._points(options) and self._points(gathering):
            # Without further programs: the gathered rows are what a ring saves at least.
            saved = _GATHERED_A_VALUE * self.embedding_size * options.batch_size
            return self._line(gathering, rows) - saved
        batch = options.batch_size // options.accum_steps
        logits = _LOGITS_A_PAIR * rows * batch if options.negatives == "gather" else 0
        return self._line(options, rows) + logits

    def _line(self, options: Options, rows: int) -> float:
        points = self._points(options) or self._measure(options, _SMALL)
        if len(points) == 1:
            ((smallest, needed),) = points.items()
            if needed * rows / smallest <= self.limit:
                return needed * rows / smallest
            second = 2 * smallest
            while second < _SECOND and needed * 2 * second / smallest <= self.limit:
                second *= 2
            points = self._measure(options, second)
        if float("inf") in points.values():
            return float("inf")
        (x0, y0), (x1, y1) = min(points.items()), max(points.items())
        return y0 + (y1 - y0) / (x1 - x0) * (rows - x0)

    def _points(self, options: Options) -> dict[int, float]:
        """Rows a chip -> bytes, of the programs that differ in batch and micro-batches alone."""
        found = {}
        for known, needed in self._known.items():
            same = {"batch_size": options.batch_size, "accum_steps": options.accum_steps}
            if dataclasses.replace(known, **same) == options:
                found[known.rows(self.chips)] = float("inf") if needed is None else needed
        return found

    def _measure(self, options: Options, rows: int) -> dict[int, float]:
        self._needed(self._with_rows(dataclasses.replace(options, accum_steps=1), rows))
        return self._points(options)

    def _with_rows(self, options: Options, rows: int) -> Options:
        return dataclasses.replace(options, batch_size=rows * self.chips * options.accum_steps)

    def _needed(self, options: Options) -> int | None:
        if options not in self._known:
            self._known[options] = self.needs(options)
        return self._known[options]


def ladder(start: Options, chips: int, split: int = 1) -> Iterator[Options]:
    """Options with more and more changes, which take less and less memory.

    Args:
      start: without any.
      chips: that split a batch.
      split: over how many chips parameters may be split, at most.
    """
    yield start
    options = start
    for change in ({"negatives": "ring"}, {"remat": True}):
        changed = dataclasses.replace(options, **change)
        if changed != options:
            yield changed
        options = changed
    for dtype in dict.fromkeys((options.dtype, "bfloat16")):
        steps = options.accum_steps * (2 if dtype == options.dtype else 1)
        accumulated = dataclasses.replace(options, dtype=dtype)
        while options.batch_size % (chips * steps) == 0:
            accumulated = dataclasses.replace(accumulated, accum_steps=steps)
            yield accumulated
            steps *= 2
        if split > accumulated.fsdp:
            yield dataclasses.replace(accumulated, fsdp=split)
