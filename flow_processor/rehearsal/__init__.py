"""A flow gone through without running it: each step's options rendered, conditions looked at as far as they can be
known, nothing called and nothing written (`octospool run --dry`)."""

from flow_processor.rehearsal.process import Rehearsal, rehearse

__all__ = ["Rehearsal", "rehearse"]
