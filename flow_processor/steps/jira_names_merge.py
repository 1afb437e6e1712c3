"""Give the custom fields of a Jira search answer their names.

```yaml
- name: tickets
  type: jira_names_merge
  jira_names_merge: {data_key: export}
```

The answer must have been asked with `expand=names`. For each issue: fields that are null or an empty list go;
`customfield_10016` moves to the key made of its label ("Story Points" becomes `story_points`), over a field of that
name. Custom fields without a label stay. The result is the list of issues; the source is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import JsonValue, StepContext, StepResult

_CUSTOM = "customfield_"
_SEPARATORS = re.compile(r"[.\-\s]")


class JiraNamesMergeOptions(Spec):
    """Gives the custom fields of a Jira search answer their names."""

    data_key: str = "."
    """Key of the flow data that holds Jira's answer; default: the whole data."""
    list_key: str = "issues"
    """Key of the answer that holds the list of issues."""


@step_type("jira_names_merge", aliases=("jira_fields",), repeatable=True)
def run(options: JiraNamesMergeOptions, context: StepContext) -> StepResult:
    """Rename and tidy the fields of every issue."""
    answer = context.lookup(options.data_key)
    names = answer.get("names") if isinstance(answer, Mapping) else None
    if not isinstance(names, Mapping):
        raise StepError(
            f"there are no 'names' in '{options.data_key}'; query Jira with expand=names",
            code="jira_names_missing",
            details={"data_key": options.data_key},
        )
    issues = answer.get(options.list_key)
    if not isinstance(issues, list):
        raise StepError(
            f"there is no list '{options.list_key}' in '{options.data_key}' (list_key)",
            code="not_a_list",
            details={"data_key": options.data_key, "list_key": options.list_key},
        )
    keys = {
        field: _SEPARATORS.sub("_", label).lower()
        for field, label in names.items()
        if field.startswith(_CUSTOM) and isinstance(label, str) and label.strip()
    }
    return StepResult([_merged(issue, keys) for issue in issues])


def _merged(issue: JsonValue, keys: Mapping[str, str]) -> JsonValue:
    if not isinstance(issue, Mapping) or not isinstance(issue.get("fields"), Mapping):
        return issue
    kept = {name: value for name, value in issue["fields"].items() if value is not None and value != []}
    fields: dict[str, Any] = {name: value for name, value in kept.items() if name not in keys}
    fields.update((keys[name], value) for name, value in kept.items() if name in keys)
    return {**issue, "fields": fields}
