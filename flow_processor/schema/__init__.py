"""JSON Schema of flow files and the reference pages, both from the specs."""

from flow_processor.schema.flow_schema import flow_schema
from flow_processor.schema.pages import fields_table, step_page

__all__ = ["fields_table", "flow_schema", "step_page"]
