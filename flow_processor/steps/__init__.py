"""Step types, one file each. Importing this package registers them; a new one is one file and one line here."""

from flow_processor.steps import (
    debug,
    exit,
    file,
    flow,
    flow_loop,
    goto,
    jinja,
    jira_names_merge,
    jq,
    rest,
    set_fact,
    shell,
    sleep,
    switch,
    wait,
)

__all__ = [
    "debug",
    "exit",
    "file",
    "flow",
    "flow_loop",
    "goto",
    "jinja",
    "jira_names_merge",
    "jq",
    "rest",
    "set_fact",
    "shell",
    "sleep",
    "switch",
    "wait",
]
