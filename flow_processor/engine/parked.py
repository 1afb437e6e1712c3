"""Runs that wait and have no worker: known by nothing but their id and when they go on by themselves."""

from __future__ import annotations

from flow_processor.journal import RunState


def must_go_on(state: RunState) -> bool:
    """Has a run that was parked been told something meanwhile that it waits for, or that it must end?"""
    if state.cancel_requested or state.flow_timed_out:
        return True
    # An approval is answered by a signal with the name of its step's path.
    awaited = {(record.waiting or {}).get("signal") or record.path for record in state.under_way()}
    return any(signal.name in awaited for signal in state.open_signals())
