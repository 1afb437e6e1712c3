"""Flow files: text -> checked FlowSpec, with their sub-flows, and which version of a file is in force."""

from flow_processor.flow_files.bundle import MAX_SUB_FLOW_DEPTH, Bundle
from flow_processor.flow_files.checks import ExpressionCheck, placed_steps
from flow_processor.flow_files.library import FileStatus, FlowLibrary
from flow_processor.flow_files.parsing import LoadedFlow, parse_flow

__all__ = [
    "MAX_SUB_FLOW_DEPTH",
    "Bundle",
    "ExpressionCheck",
    "FileStatus",
    "FlowLibrary",
    "LoadedFlow",
    "parse_flow",
    "placed_steps",
]
