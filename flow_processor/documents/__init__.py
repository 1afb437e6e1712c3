"""YAML and JSON text that people write: read with positions, checked against a spec, written back.

The only place that knows PyYAML. Reading is YAML 1.2 core: `on`, `no`, `12:30`, `0123` and dates are text.
"""

from flow_processor.documents.json_values import (
    NotJson,
    dump_yaml,
    json_bytes,
    json_copy,
    parse_all_data_yaml,
    parse_data_yaml,
    to_json_value,
)
from flow_processor.documents.partial import without_wrong_keys
from flow_processor.documents.reader import MAX_BYTES, MAX_DEPTH, Document, parse
from flow_processor.documents.validation import (
    TagCodes,
    TagWords,
    did_you_mean,
    in_file_order,
    problem_at,
    said_of,
    validate,
)

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "Document",
    "NotJson",
    "TagCodes",
    "TagWords",
    "did_you_mean",
    "dump_yaml",
    "in_file_order",
    "json_bytes",
    "json_copy",
    "parse",
    "parse_all_data_yaml",
    "parse_data_yaml",
    "problem_at",
    "said_of",
    "to_json_value",
    "validate",
    "without_wrong_keys",
]
