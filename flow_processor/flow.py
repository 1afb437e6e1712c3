"""The Python API: a flow run from a program, in a worker process like any other run.

```python
result = Flow.load("flows/hello.yml").run(data={"name": "Ada"})
```

No `if __name__ == "__main__"` is needed: workers do not import the calling script.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_processor.errors import FlowNotFound
from flow_processor.flow_files import FlowLibrary
from flow_processor.run import RunStatus, Trigger

if TYPE_CHECKING:
    from flow_processor.service.views import ErrorView, RunDetail, StepView
    from flow_processor.settings import Settings
    from flow_processor.spec.flow import FlowSpec

# As libraries do: the program that embeds us decides what is logged where.
logging.getLogger("octospool").addHandler(logging.NullHandler())

ALL_STEPS = 1_000_000
"""More attempts of steps than a run can have."""
_POLL_SECONDS = 60.0


@dataclass(frozen=True)
class RunResult:
    """What a run came to. A failed run is a result, not an exception."""

    run_id: str
    """The run's id; with a data folder, history knows it."""
    status: RunStatus
    """succeeded, exited, failed, cancelled or interrupted; compares equal to these texts."""
    data: dict[str, Any]
    """The flow data at the end: `{result key: result of the step}`, and `__input__`, `__errors__`, …"""
    errors: list[dict[str, Any]]
    """Errors that did not end the run (ignored ones, those of loop items): `{step, code, error, …}`."""
    error: ErrorView | None
    """Why the run did not succeed: code, message, details, step."""
    steps: tuple[StepView, ...]
    """Every attempt of every step, in the order in which they began."""


class Flow:
    """A flow file that was read and found valid."""

    def __init__(self, path: str, spec: FlowSpec, *, folder: Path, data_folder: Path | None):
        """Use `Flow.load`."""
        self.path = path
        """Path below the flows folder."""
        self.spec = spec
        """What the file says."""
        self._folder = folder
        self._data_folder = data_folder

    @classmethod
    def load(cls, path: str | os.PathLike[str], data_folder: str | os.PathLike[str] | None = None) -> Flow:
        """Read and check a flow file and its sub-flows.

        Without a `data_folder` the flow's own folder is the flows folder; templates are looked for in
        `templates` and secrets in `secrets.yml` beside the flow, and what else a run needs (history, locks,
        the files that file steps read and write) is a temporary folder that is removed after the run. Own code is
        not there: it needs a data folder.

        With one, `path` is relative to its flows folder (or lies inside it), and runs use and record
        everything there.

        Raises FlowNotFound, SpecError (all problems, with positions) or SettingsError.
        """
        if data_folder is None:
            file = Path(path).absolute()
            folder, name = file.parent, file.name
            base = None
            library = FlowLibrary(folder)
        else:
            base = Path(data_folder).absolute()
            from flow_processor.service.own_code import flow_library

            settings = _settings(base, folder=None)
            folder = settings.flows_path
            name = name_below(os.fspath(path), folder)
            library = flow_library(settings)
        if not folder.is_dir():
            raise FlowNotFound(f"there is no flow {path}: the folder {folder} does not exist")
        bundle = library.bundle(name)
        return cls(bundle.path, bundle.spec, folder=folder, data_folder=base)

    def run(self, data: Any = None, params: Mapping[str, Any] | None = None) -> RunResult:
        """Run the flow in a worker process and wait for its end.

        `data` is the flow's `__input__`, any JSON value. Raises DataFolderInUse while a daemon or another run
        has the data folder, FlowRunning, SpecError if the file has become invalid; KeyboardInterrupt cancels
        the run, waits for its `finally_step`, and goes on.
        """
        from flow_processor.service import Service

        with self._settings() as settings:
            service = Service(settings)
            service.start(schedule=False)
            try:
                given = dict(params) if params else None
                run = service.launch(self.path, data=data, params=given, trigger=Trigger.CLI, by="python")
                try:
                    _wait(service, run.run_id)
                except KeyboardInterrupt:
                    service.cancel_run(run.run_id, by="python")
                    _wait(service, run.run_id)
                    raise
                return _result(service.run(run.run_id, max_steps=ALL_STEPS))
            finally:
                service.stop()

    @contextmanager
    def _settings(self) -> Iterator[Settings]:
        if self._data_folder is not None:
            yield _settings(self._data_folder, folder=None)
            return
        # ignore_cleanup_errors: on Windows a file may still be open in a process that is just leaving.
        with tempfile.TemporaryDirectory(prefix="octospool-", ignore_cleanup_errors=True) as state:
            # Empty on purpose: neither the caller's CONFIG_FILE nor the flow folder's is meant.
            (Path(state) / "config.yml").touch()
            yield _settings(Path(state), folder=self._folder)

    def __repr__(self) -> str:
        return f"Flow({self.path!r})"


def _settings(base: Path, *, folder: Path | None) -> Settings:
    """The settings of a data folder; or of a temporary one, with flows, templates and secrets in `folder`."""
    from flow_processor.settings import Settings

    overrides: dict[str, Any] = {"data_path": base}
    if folder is not None:
        overrides |= {
            "flows_path": folder,
            "templates_path": folder / "templates",
            "secrets_path": folder / "secrets.yml",
            "lock_path": base / "locks",
            "log_path": base / "logs",
            "config_file": base / "config.yml",
            "database_url": f"sqlite:///{(base / 'octospool.db').as_posix()}",
        }
    return Settings.load(os.environ, overrides=overrides)


def name_below(given: str, flows_path: Path) -> str:
    """A flow as people name it, as a path below the flows folder.

    `hello`, `sub/hello.yml`, an absolute path and, from the shell's completion, `data/flows/sub/hello.yml` are
    all understood. What is not found stays as it is, for the error message.
    """
    path = Path(given)
    names = (given, f"{given}.yml", f"{given}.yaml")
    if not path.is_absolute() and any((flows_path / name).is_file() for name in names):
        return path.as_posix()
    here = Path(os.path.abspath(given))  # noqa: PTH100  resolve() would follow a symlink in the flows folder
    if here.is_relative_to(flows_path) and here.is_file():
        return here.relative_to(flows_path).as_posix()
    return given


def _wait(service: Any, run_id: str) -> None:
    while not service.wait_for_run(run_id, _POLL_SECONDS).status.is_terminal:
        pass


def _result(run: RunDetail) -> RunResult:
    data = run.data or {}
    return RunResult(
        run_id=run.run_id,
        status=run.status,
        data=data,
        errors=list(data.get("__errors__", [])),
        error=run.error,
        steps=tuple(run.steps),
    )
