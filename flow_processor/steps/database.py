"""Sends one SQL statement to a database.

```yaml
- name: open_orders
  type: database
  database:
    secret: shop_db
    query: "SELECT id, customer, total FROM orders WHERE status = :status AND id IN :ids"
    params: {status: open, ids: "{{ __input__.ids }}"}
    max_rows: 500
```

A statement that gives rows has the list of its rows as result, each a mapping by column name; any other one
`{rows_affected}`. With `response: full` it is `{rows, columns, rows_affected, cut}`.

Values reach the statement by name, never as text: `:status` in the query, the value under `params`. A template in the
query is refused, for what it pastes could change the meaning of the statement. A list stands for `(…, …)`, for `IN`; a
mapping is sent as JSON text. A colon that begins no name is written `\\:`, and in a YAML text in
double quotes `\\\\:` (`::type` needs none).

With a list of mappings (`params`, or `data_key`) the statement is sent once for each, in one transaction: all or
nothing. Every step is one transaction of its own.

| in the database | in the flow's data |
|---|---|
| date, time, timestamp | ISO 8601 text |
| interval | number of seconds |
| decimal, numeric: PostgreSQL | text, exact: `"12.50"` (`{{ row.total \\| float }}` makes it a number) |
| decimal, numeric: SQLite | number, for it has no decimals |
| bytes | text in base64 |
| UUID, network addresses, ranges | text |
| JSON, arrays | as they are |
| NaN, infinity | null |

`secret` names the address (`url` or `token`: `postgresql://user:password@host/shop`), or user name and password for
`url`. PostgreSQL needs the package psycopg (`pip install "psycopg[binary]"`); SQLite is always there: `sqlite:///name.db`
is a file below the data folder, made by the first statement that writes. A SQLite file that is the spooler's own is
refused, and so is ATTACH. Other databases work as far as SQLAlchemy and their drivers do; they are not tested here.

When the run is cancelled or the step's time is over, the statement is ended in the database too (PostgreSQL, SQLite),
and its transaction is rolled back. After a crash a plain SELECT is sent again, anything else only with
`on_interrupt: rerun`. If the connection breaks while a transaction is being committed, the error is `database_unclear`:
whether it took place is not known, and `retry` does not apply.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from flow_processor.connections import check_address
from flow_processor.factory import step_type
from flow_processor.spec.base import TEMPLATE_PATTERN, Spec, TemplateText
from flow_processor.step import JsonValue, StepContext, StepResult

DEFAULT_MAX_ROWS = 10_000

_NAME = re.compile(r"(?<![:\w\\]):(\w+)(?![:\w])")
"""A parameter in a statement, as SQLAlchemy reads it."""
_READS = re.compile(
    r"\s*select\b(?!.*\binto\b)(?!.*\bfor\s+(no\s+key\s+)?update\b)", re.IGNORECASE | re.DOTALL
)
_PACKAGES = (("postgresql", "psycopg"),)


def _without_template(query: str) -> str:
    if re.search(TEMPLATE_PATTERN, query):
        raise ValueError(
            "holds a template; what it pastes could change the meaning of the statement: write :name in the query and "
            "give the value under params"
        )
    return query


class DatabaseOptions(Spec):
    """Sends one SQL statement to a database."""

    url: Annotated[str | None, AfterValidator(check_address)] = None
    """The database's address as SQLAlchemy has it, without a password. A template."""
    secret: str | None = None
    """Name of the secret that is the address, or holds user name and password for `url`."""
    query: Annotated[
        str,
        Field(min_length=1, max_length=100_000, json_schema_extra={"not": {"pattern": TEMPLATE_PATTERN}}),
        AfterValidator(_without_template),
    ]
    """The statement, with `:name` for each value. No template."""
    params: dict[str, JsonValue] | list[dict[str, JsonValue]] | TemplateText | None = None
    """The values by name, or a list of such mappings: then the statement is sent for each. Templates."""
    data_key: str | None = None
    """Key of the flow data that is used instead of `params`; `.` is the whole data."""
    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = DEFAULT_MAX_ROWS
    """So many rows may come."""
    on_more_rows: Literal["fail", "cut"] = "fail"
    """If there are more: fail, or take the first ones and say so (a warning in the log, `cut` in the full response)."""
    response: Literal["rows", "full"] = "rows"
    """What the result is: the rows (or `{rows_affected}`), or `{rows, columns, rows_affected, cut}`."""

    @model_validator(mode="after")
    def _consistent(self) -> DatabaseOptions:
        if self.url is None and self.secret is None:
            raise ValueError("'url' or 'secret' is missing: which database?")
        if self.params is not None and self.data_key is not None:
            raise ValueError("give either 'params' or 'data_key', not both")
        if self.data_key is None and not isinstance(self.params, str):
            sets = self.params if isinstance(self.params, list) else [self.params or {}]
            for one in sets:
                problem = wrong_names(self.query, one)
                if problem is not None:
                    raise ValueError(problem)
        return self

    @property
    def reads(self) -> bool:
        """Is it a SELECT that takes no locks?"""
        return _READS.match(self.query) is not None

    @property
    def package(self) -> str | None:
        """The module that the step needs; None if none, or if only the secret tells."""
        url = self.url or ""
        return next((module for scheme, module in _PACKAGES if url.startswith(scheme)), None)


def wrong_names(query: str, values: dict[str, Any]) -> str | None:
    """What does not fit between the names in the statement and those of the values; None if all is well."""
    wanted = dict.fromkeys(_NAME.findall(query))
    lacking = [name for name in wanted if name not in values]
    if lacking:
        return f"the query has :{lacking[0]}, params has not (a colon that begins no name is written \\:)"
    extra = [name for name in values if name not in wanted]
    if extra:
        there = ", ".join(f":{name}" for name in wanted) or "none"
        return f"params has {extra[0]!r}, the query has no :{extra[0]}; it has: {there}"
    return None


@step_type("database", repeatable=lambda options: options.reads)
def run(options: DatabaseOptions, context: StepContext) -> StepResult:
    """Send the statement. Raises DatabaseError, AddressInvalid, PathRefused and PackageMissing."""
    # Here: most workers never use SQLAlchemy and should start fast.
    from flow_processor.connections import sql

    key = options.data_key
    given = context.render(options.params) if key is None else context.lookup(key)
    many, sets = _sets(given)
    for number, one in enumerate(sets, 1):
        problem = wrong_names(options.query, one)
        if problem is not None:
            where = f"set {number} of the params: " if many else ""
            raise sql.DatabaseError(f"{where}{problem}", code="database_params")
    if not sets:
        return StepResult({"rows_affected": 0})
    statement = sql.Statement(
        options.query,
        sets,
        is_many=many,
        reads=options.reads,
        max_rows=options.max_rows,
        cuts=options.on_more_rows == "cut",
    )
    answer = sql.execute(statement, context, url=options.url, secret=options.secret)
    if answer.cut:
        context.log(f"cut: only the first {options.max_rows:,} rows are taken (max_rows)", level="warning")
    if options.response == "full":
        return StepResult(answer.as_value())
    return StepResult({"rows_affected": answer.rows_affected} if answer.rows is None else answer.rows)


def _sets(given: JsonValue) -> tuple[bool, list[dict[str, Any]]]:
    """Are there several sets of values, and which."""
    from flow_processor.connections import sql

    many = isinstance(given, list)
    sets = given if isinstance(given, list) else [{} if given is None else given]
    if not all(isinstance(one, dict) for one in sets):
        message = "the params must be a mapping, or a list of mappings"
        raise sql.DatabaseError(message, code="database_params")
    return many, sets
