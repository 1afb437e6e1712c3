"""The parts that start flows by items of queues and by files, and that put results on queues."""

from __future__ import annotations

from functools import cached_property

from flow_processor.errors import FlowNotFound
from flow_processor.queues.backend import Backend
from flow_processor.queues.file_watch import FileWatch
from flow_processor.queues.folder import FolderBackend
from flow_processor.queues.intake import ItemIntake
from flow_processor.queues.outbox import ResultPublisher
from flow_processor.service.listening import Listening, launching
from flow_processor.service.queue_verbs import QueueVerbs
from flow_processor.service.schedule_parts import ScheduleParts
from flow_processor.store import store_files
from flow_processor.store.file_items import FILES, FileItems
from flow_processor.store.runs import RunRow


class QueueParts(ScheduleParts):
    """With queues and watched folders."""

    @cached_property
    def queue_backend(self) -> Backend:
        """What keeps the items of all queues."""
        settings = self.settings
        if settings.broker_url:
            from flow_processor.queues.amqp import AmqpBackend  # its packages are an extra
            from flow_processor.queues.amqp_address import broker_address

            return AmqpBackend(
                broker_address(settings.broker_url),
                state_file=settings.data_path / "broker.json",
                in_work=lambda queue: self.store.items.open_count(queue),
                attempts=lambda queue, item, flow: self.store.items.attempts(queue, item, flow),
                settings_of=settings.queues.of,
                clock=self.clock,
            )
        return FolderBackend(
            settings.data_path / "spool",
            store=lambda: self.store,
            settings_of=settings.queues.of,
            clock=self.clock,
        )

    @cached_property
    def intake(self) -> ItemIntake:
        """Takes items of queues in."""
        return ItemIntake(
            self.store,
            launch=launching(self.launcher),
            source=lambda queue: self.file_watch if queue == FILES else self.queue_backend,
            settings_of=self.settings.queues.of,
            clock=self.clock,
        )

    @cached_property
    def file_watch(self) -> FileWatch:
        """Files that start flows."""
        settings = self.settings
        private = [*settings.private_paths, *store_files(settings.database_url), settings.data_path / "spool"]
        return FileWatch(settings.data_path, private=private, ledger=FileItems(self.store), clock=self.clock)

    @cached_property
    def listening(self) -> Listening:
        """Flows that listen to queues and files."""
        return Listening(
            self.store,
            self.library,
            intake=self.intake,
            backend=self.queue_backend,
            files=self.file_watch,
            paused=self.queues.paused,
            clock=self.clock,
        )

    @cached_property
    def publisher(self) -> ResultPublisher:
        """Puts results of steps on queues."""
        return ResultPublisher(
            self.store,
            self.result_files,
            # Their sizes were right when their steps ended; one that is too large now must not hold up the others.
            lambda queue, items: self.queue_backend.put(queue, items, any_size=True),
            clock=self.clock,
        )

    @cached_property
    def queues(self) -> QueueVerbs:
        """Looks at queues, puts items there, pauses them."""
        return QueueVerbs(
            self.queue_backend,
            self.store,
            listening=self.library.listening,
            settings=self.settings.queues,
            pause=lambda queues: self.listening.set_paused(queues),
            is_wrong_now=self._is_wrong_now,
            clock=self.clock,
        )

    def _is_wrong_now(self, flow: str) -> bool:
        try:
            return self.library.status(flow).last_good_in_force
        except FlowNotFound:  # gone in this moment
            return False

    def _run_freed(self, run: RunRow) -> None:
        super()._run_freed(run)
        if "listening" in vars(self):  # else nobody here takes items; the next daemon finds the end
            self.intake.run_ended(run)
