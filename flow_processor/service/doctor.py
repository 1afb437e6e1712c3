"""`octospool doctor`: is the data folder whole? Where no daemon works, it also puts right what it can."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flow_processor.clock import Clock
from flow_processor.errors import DataFolderInUse, OctospoolError, StoreUnavailable
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.service.broker_findings import at_broker
from flow_processor.service.container_findings import in_engine
from flow_processor.service.daemon_id import daemon_id
from flow_processor.service.findings import Finding, Patient, in_folder, in_store
from flow_processor.settings import Settings
from flow_processor.store import database_file
from flow_processor.store.checkup import Checkup, is_safe_sqlite, sqlite_version
from flow_processor.store.database import SCHEMA_VERSION


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was found, and what became of it."""

    code: str
    message: str
    repaired: bool
    failure: str | None = None
    """Why its repair failed."""


@dataclass(frozen=True)
class Report:
    """What the doctor says."""

    facts: tuple[str, ...]
    """What is worth knowing, right or wrong."""
    found: tuple[Diagnosis, ...]

    @property
    def is_well(self) -> bool:
        """Nothing is wrong (any more)."""
        return all(diagnosis.repaired for diagnosis in self.found)


def examine(settings: Settings, *, repair: bool, clock: Clock) -> Report:
    """Look at everything; `repair` only counts while nobody has the data folder.

    Reads the whole store, which takes some seconds for each GB.
    """
    in_use = DataFolderLock(settings.data_path, clock=clock).holder() is not None
    with _alone(settings, clock, repair=repair) as (may_repair, fact):
        facts = [fact] if fact else []
        found: list[Diagnosis] = []
        for finding in _findings(settings, facts, in_use=in_use):
            found.append(_treated(finding) if may_repair else Diagnosis(finding.code, finding.message, False))
    return Report(tuple(facts), tuple(found))


@contextmanager
def _alone(settings: Settings, clock: Clock, *, repair: bool) -> Iterator[tuple[bool, str | None]]:
    """(may something be repaired, why not); the data folder is held meanwhile if so."""
    folder = DataFolderLock(settings.data_path, clock=clock)
    if not repair:
        yield False, None
        return
    try:
        folder.acquire("doctor", detail={})
    except DataFolderInUse as busy:
        yield False, f"nothing is repaired while the folder is in use: {busy.message}"
        return
    try:
        working = [
            path for path in (settings.data_path / "workers").glob("*.lock") if LockFile(path).is_taken()
        ]
        if working:
            yield (
                False,
                "nothing is repaired while a worker of the last daemon is at work; try again in a moment",
            )
        else:
            yield True, None
    finally:
        folder.release()


def _treated(finding: Finding) -> Diagnosis:
    if finding.repair is None:
        return Diagnosis(finding.code, finding.message, False)
    try:
        finding.repair()
    except (OctospoolError, OSError) as error:
        return Diagnosis(finding.code, finding.message, False, str(error))
    return Diagnosis(finding.code, finding.message, True)


def _findings(settings: Settings, facts: list[str], *, in_use: bool) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.data_path).free
    facts.append(f"{free / 1e9:.1f} GB free on the disk of {settings.data_path}")
    try:
        checkup = _checkup(settings, facts)
    except StoreUnavailable as error:
        yield Finding(error.code, error.message)
        checkup = None
    if checkup is None:
        yield from in_folder(Patient(settings, None, in_use))
        yield from _elsewhere(settings, facts, in_use=in_use)
        return
    try:
        is_whole = True
        for finding in _store(checkup, settings, facts):
            is_whole = False
            yield finding
        patient = Patient(settings, checkup if is_whole and checkup.is_current() else None, in_use)
        if patient.checkup is not None:
            yield from in_store(patient, patient.checkup)
        yield from in_folder(patient)
        yield from _elsewhere(settings, facts, in_use=in_use)
    finally:
        checkup.close()


def _elsewhere(settings: Settings, facts: list[str], *, in_use: bool) -> Iterator[Finding]:
    """What is wrong outside of the data folder."""
    yield from in_engine(settings)
    yield from at_broker(settings, facts, in_use=in_use)


def _checkup(settings: Settings, facts: list[str]) -> Checkup | None:
    """Somebody who looks at the store; None where there is none yet. Raises StoreUnavailable."""
    path = database_file(settings.database_url)
    if path is None:
        from flow_processor.store.server_checkup import ServerCheckup

        server = ServerCheckup(settings.database_url, daemon_id(settings.data_path, create=False))
        facts.append(f"PostgreSQL {server.version()}; whether its files are whole pg_amcheck tells")
        return server
    bug = (
        ""
        if is_safe_sqlite()
        else " (has the WAL-reset bug, fixed in 3.51.3; one writer at a time avoids it)"
    )
    facts.append(f"SQLite {sqlite_version()}{bug}")
    if path.exists():
        return Checkup(path)
    facts.append("there is no store yet; the first start makes one")
    return None


def _store(checkup: Checkup, settings: Settings, facts: list[str]) -> Iterator[Finding]:
    """What is wrong with the store as a whole."""
    path = database_file(settings.database_url)
    place = "the store" if path is None else f"the store {path}"
    try:
        schema = checkup.schema()
        damage = checkup.integrity()
        runs = checkup.runs() if schema else 0
    except StoreUnavailable as error:
        yield Finding(error.code, error.message)
        return
    if damage:
        way_out = "stop the daemon and restore a backup: octospool restore FILE --force"
        yield Finding("store_damaged", f"{place} is damaged: {'; '.join(damage)}. {way_out}")
        return
    facts.append(f"{place} is whole: {runs} runs, schema {schema}")
    if schema > SCHEMA_VERSION:
        yield Finding(
            "store_too_new", f"a newer version of octospool wrote it; this one knows schema {SCHEMA_VERSION}"
        )
    elif schema < SCHEMA_VERSION:
        facts.append(
            f"the next start brings it to schema {SCHEMA_VERSION}; only then its content can be looked at"
        )
