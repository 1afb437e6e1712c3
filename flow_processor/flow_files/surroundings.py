"""What a flow expects beside it: templates that exist, paths that are allowed, secrets that are configured.

Not looked at when a flow is launched: templates and secrets may be added later, and whether they are there
is the step's own business. `octospool check` tells it before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_processor.connections import missing_package
from flow_processor.documents import did_you_mean
from flow_processor.errors import PathRefused
from flow_processor.expressions import jinja
from flow_processor.expressions.template_checks import syntax_problem
from flow_processor.flow_files.step_lists import Loc, placed_steps
from flow_processor.paths import inside, open_regular
from flow_processor.spec.files import FILES_OF_A_FOLDER
from flow_processor.spec.flow import FlowSpec

_Found = tuple[Loc, str, str]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Folders and names that steps may use. Calling it is a check of a flow (`ExpressionCheck`)."""

    data: Path
    templates: Path
    private: Sequence[Path]
    """Files and folders that no step may reach."""
    secrets: Collection[str] | None
    """Names of the configured secrets; None: not known, not looked at."""
    tokens: Collection[str] | None = None
    """Names of those of type `token`; None: not known, not looked at."""
    own_filters: frozenset[str] = frozenset()
    """Template filters of the data folder's own."""

    def __call__(self, flow: FlowSpec) -> list[_Found]:
        """(place, code, message) of everything that the flow names and that is not there or not allowed; a package
        once, at the first step that needs it."""
        found = [*self._of_webhook(flow), *self._of_files(flow)]
        packages: set[str] = set()
        for loc, step in placed_steps(flow):
            for place, code, message in self._of_step(loc, step):
                if code == "package_missing" and message in packages:
                    continue
                packages.add(message)
                found.append((place, code, message))
        return found

    def _of_webhook(self, flow: FlowSpec) -> Iterator[_Found]:
        if flow.webhook is None:
            return
        name, loc = flow.webhook.secret, ("on", "webhook", "secret")
        yield from self._secret(loc, name)
        is_there = self.secrets is not None and name in self.secrets
        if is_there and self.tokens is not None and name not in self.tokens:
            yield (
                loc,
                "secret_type",
                f"a webhook needs a secret of type token, and '{name}' is of another type",
            )

    def _of_files(self, flow: FlowSpec) -> Iterator[_Found]:
        loc, files = ("on", "files", "path"), flow.files
        if files is None:
            return
        folder = files.folder
        if files.is_one_name and (self.data / files.path).is_dir():
            why = f"'{files.path}' is a folder, which starts nothing; {FILES_OF_A_FOLDER.format(files.path)}"
            yield loc, "invalid_value", why
        if folder.split("/")[0] == "spool":
            yield loc, "path_refused", "spool/ holds the items of queues; say 'on: {queue: NAME}'"
        elif folder:
            yield from self._file(loc, folder)

    def _of_step(self, loc: Loc, step: Any) -> Iterator[_Found]:
        options = step.options
        if step.options_key == "jinja" and options.path is not None:
            yield from self._template((*loc, "jinja", "path"), options.path)
        elif step.options_key == "file" and not jinja.is_template(options.path):
            yield from self._file((*loc, "file", "path"), options.path)
        elif step.options_key == "python":
            for parameter, name in options.secrets.items():
                yield from self._secret((*loc, "python", "secrets", parameter), name)
        elif step.options_key in ("shell", "docker"):
            for variable, wanted in options.secret_env.items():
                yield from self._secret((*loc, step.options_key, "secret_env", variable), wanted.secret)
        elif step.options_key == "rest" and options.authentication is not None:
            yield from self._secret((*loc, "rest", "authentication", "secret"), options.authentication.secret)
        yield from self._of_connection((*loc, step.options_key), options)

    def _of_connection(self, loc: Loc, options: Any) -> Iterator[_Found]:
        """What steps share that talk to other servers: a secret, certificates, a package."""
        for key in ("secret", "authentication"):
            if isinstance(getattr(options, key, None), str):
                yield from self._secret((*loc, key), getattr(options, key))
        if isinstance(getattr(options, "verify", None), str):
            yield from self._file((*loc, "verify"), options.verify)
        package = getattr(options, "package", None)
        wanted = missing_package(package) if package is not None else None
        if wanted is not None:
            yield loc, "package_missing", wanted

    def _template(self, loc: Loc, path: str) -> Iterator[_Found]:
        shown = f"{self.templates.name}/{path}"
        try:
            with open_regular(inside(self.templates, path, what="path"), "rb") as stream:
                text = stream.read().decode()
        except PathRefused as error:
            yield loc, error.code, error.message
        except FileNotFoundError:
            yield loc, "template_not_found", f"there is no template {shown}"
        except (OSError, UnicodeDecodeError) as error:
            yield loc, "template_error", f"{shown} cannot be read: {error}"
        else:
            wrong = syntax_problem(text, self.own_filters)
            if wrong is not None:
                yield loc, "template_error", f"{shown}, line {wrong[0]}: {wrong[1]}"

    def _file(self, loc: Loc, path: str) -> Iterator[_Found]:
        try:
            inside(self.data, path, what="path", private=self.private)
        except PathRefused as error:
            yield loc, error.code, error.message

    def _secret(self, loc: Loc, name: str) -> Iterator[_Found]:
        if self.secrets is not None and name not in self.secrets:
            near = did_you_mean(name, self.secrets)
            hint = near or f"there are: {', '.join(sorted(self.secrets)) or 'none'}"
            yield loc, "secret_not_found", f"there is no secret '{name}' in secrets.yml; {hint}"
