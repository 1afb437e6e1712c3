"""The process of a rehearsal: reads what to rehearse from stdin, writes what can be told of each step to stdout."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import flow_processor.steps  # noqa: F401  registers the step types
from flow_processor.engine.limits import limit_cpu, limit_memory
from flow_processor.expressions.jinja import Templates
from flow_processor.flow_data import first_data
from flow_processor.flow_files.launched import launched_flow
from flow_processor.own_code.calls import OwnCode
from flow_processor.own_code.modules import Modules
from flow_processor.rehearsal.flows import Rehearser
from flow_processor.rehearsal.process import TIME_LIMIT_SECONDS, Rehearsal
from flow_processor.rehearsal.unknown import Data, Renderer
from flow_processor.step import Folders


def main() -> None:
    """Entry of the process."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # own code may print
    rehearsal = Rehearsal(**json.load(sys.stdin))
    limit_memory(rehearsal.memory_mb)
    limit_cpu(TIME_LIMIT_SECONDS)
    folders = Folders(data=Path(rehearsal.data_path), templates=Path(rehearsal.templates_path))
    known = first_data(
        run_id="",
        flow=rehearsal.flow,
        timestamp=rehearsal.timestamp,
        api_url=rehearsal.api_url,
        payload=rehearsal.payload,
        params=None if rehearsal.params is None else dict(rehearsal.params),
    )
    data = Data(known).with_values({"__run_id__": "run's id", "__job_id__": "run's id"})

    filters = OwnCode(rehearsal.flows, Modules()).filters()
    renderer = Renderer(Templates(folders.templates, own_filters=filters))
    rehearser = Rehearser(renderer, folders, lambda path: launched_flow(rehearsal.flows, path))
    steps = rehearser.flow(launched_flow(rehearsal.flows, rehearsal.flow), data)
    with answer:
        json.dump([asdict(step) for step in steps], answer)


if __name__ == "__main__":
    main()
