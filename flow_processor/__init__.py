"""Octospool: a file-based flow spooler that people can trust.

The public Python API; everything else may change. Importing this does nothing, and loads nothing until a
name is used.

```python
from flow_processor import Flow

result = Flow.load("flows/hello.yml").run(data={"name": "Ada"})
print(result.status, result.data["greeting"])
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flow_processor.version import VERSION

if TYPE_CHECKING:
    from flow_processor import errors
    from flow_processor.factory import step_type
    from flow_processor.flow import Flow, RunResult

__version__ = VERSION
__all__ = ["VERSION", "Flow", "RunResult", "__version__", "errors", "step_type"]

_WHERE = {
    "Flow": "flow_processor.flow",
    "RunResult": "flow_processor.flow",
    "step_type": "flow_processor.factory",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("flow_processor.errors")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'flow_processor' has no attribute {name!r}")
