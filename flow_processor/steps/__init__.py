"""Step types, one file each. Importing this package registers them; a new one is one file and one line here."""

from flow_processor.steps import debug, exit, goto, jinja, jq, set_fact, sleep

__all__ = ["debug", "exit", "goto", "jinja", "jq", "set_fact", "sleep"]
