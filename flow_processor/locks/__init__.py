"""Locks: never two runs of a flow at once, never two daemons on one data folder."""

from flow_processor.locks.data_folder import DataFolderLock
from flow_processor.locks.flow_locks import FlowLocks, HeldLock
from flow_processor.locks.lock_file import LockFile, LockInvalid

__all__ = ["DataFolderLock", "FlowLocks", "HeldLock", "LockFile", "LockInvalid"]
