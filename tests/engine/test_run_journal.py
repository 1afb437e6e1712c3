"""What a worker tells its daemon of a run: in which order, and what belongs together."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from flow_processor.clock import SystemClock
from flow_processor.engine.frames import Frame
from flow_processor.engine.order import RunOrder
from flow_processor.engine.run_journal import LOG_FLUSH_SECONDS, RunJournal
from flow_processor.journal import Event
from flow_processor.result_files import ResultFiles
from flow_processor.secrets import Redactor


@pytest.mark.parametrize("event", [Event.ENDED, Event.PARKED])
def test_the_last_word_and_its_row_are_one_frame_though_the_log_is_sent_at_that_moment(
    tmp_path: Path, event: Event
) -> None:
    """A line of the log has a timer, and whoever sends takes along all that is there."""
    frames: list[Frame] = []
    journal = RunJournal(
        RunOrder("a-run", "a.yml", "", {}, {}, 1, None, [], 0.0),
        frames.append,
        redactor=Redactor(),
        clock=SystemClock(),
        results=ResultFiles(tmp_path),
    )
    append = journal.append

    def append_and_let_the_timer_run_out(*row: Any, **options: Any) -> None:
        append(*row, **options)
        timer = threading.Thread(target=journal._flush_lines)
        timer.start()
        timer.join(LOG_FLUSH_SECONDS)

    journal.append = append_and_let_the_timer_run_out  # type: ignore[method-assign]
    journal.log("", "info", "about to end")
    journal.let_go(event, {"any": "thing"})
    (last,) = [frame for frame in frames if event.value in frame]
    assert last[event.value] == {"any": "thing"}
    assert [row[3] for row in last["rows"]] == [event.value]
