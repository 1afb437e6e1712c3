"""Flow files: text -> checked FlowSpec, with their sub-flows, and which version of a file is in force."""

from flow_processor.flow_files.bundle import MAX_SUB_FLOW_DEPTH, Bundle
from flow_processor.flow_files.checks import ExpressionCheck
from flow_processor.flow_files.code_use import CodeUse
from flow_processor.flow_files.library import FlowLibrary
from flow_processor.flow_files.needs import ancestors
from flow_processor.flow_files.parsing import LoadedFlow, parse_flow
from flow_processor.flow_files.status import FileStatus
from flow_processor.flow_files.step_lists import placed_steps, step_lists

__all__ = [
    "MAX_SUB_FLOW_DEPTH",
    "Bundle",
    "CodeUse",
    "ExpressionCheck",
    "FileStatus",
    "FlowLibrary",
    "LoadedFlow",
    "ancestors",
    "parse_flow",
    "placed_steps",
    "step_lists",
]
