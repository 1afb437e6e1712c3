"""Own code of a data folder, put together: who reads it, and what flows may use of it."""

from __future__ import annotations

from collections.abc import Callable

from flow_processor.clock import Clock
from flow_processor.containers import ContainerRules
from flow_processor.engine.code_reader import CodeProcess
from flow_processor.expressions.template_checks import filter_names
from flow_processor.factory import step_types
from flow_processor.flow_files import CodeUse, ExpressionCheck, FlowLibrary
from flow_processor.own_code.library import CodeFile, CodeLibrary, Function, OwnCodeState
from flow_processor.own_code.registration import Kind
from flow_processor.service.code_views import CodeFileView, FunctionView, OwnCodeView, SwitchView
from flow_processor.settings import Settings
from flow_processor.spec.step import StepSpec


class OwnCode:
    """Own code, and the switches of config.yml. `library` is None where it is switched off."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._switched_off = settings.switched_off
        self._containers = container_rules(settings)
        self.library: CodeLibrary | None = None
        if settings.own_code.enabled:
            reader = CodeProcess(environment=settings.environment, memory_mb=settings.worker_memory_mb)
            self.library = CodeLibrary(settings.data_path, reader, taken=_taken, clock=clock)

    def use(self) -> CodeUse:
        """What flows may use now."""
        if self.library is None:
            return CodeUse(switched_off=self._switched_off, containers=self._containers)
        return CodeUse(self.state(), self.library.wrong, self._switched_off, self._containers)

    def state(self) -> OwnCodeState:
        """What is there now."""
        return OwnCodeState() if self.library is None else self.library.current()

    def view(self) -> OwnCodeView:
        """All of it as the API shows it."""
        state = self.state()
        return OwnCodeView(
            own_code=SwitchView(enabled="python" not in self._switched_off),
            shell=SwitchView(enabled="shell" not in self._switched_off),
            docker=SwitchView(enabled="docker" not in self._switched_off),
            functions=[_function(one) for one in state.functions.values()],
            files=[_file(one) for one in state.files],
        )

    def close(self) -> None:
        """End the process that reads."""
        if self.library is not None:
            self.library.close()


def container_rules(settings: Settings) -> ContainerRules | None:
    """What containers of this data folder may do; None where there are none."""
    if not settings.docker.enabled:
        return None
    from flow_processor.store import store_files

    private = [*settings.private_paths, *store_files(settings.database_url)]
    return ContainerRules(settings=settings.docker, data=settings.data_path, private=private)


def flow_library(
    settings: Settings,
    *,
    check_expressions: ExpressionCheck | None = None,
    code: Callable[[], CodeUse] | None = None,
) -> FlowLibrary:
    """The flow files of a data folder, which know its own code."""
    return FlowLibrary(
        settings.flows_path,
        check_expressions=check_expressions,
        code=code or OwnCode(settings).use,
        defaults=settings.defaults_file,
    )


def own_functions(settings: Settings) -> list[Function]:
    """All functions of own code, read once."""
    code = OwnCode(settings)
    try:
        return list(code.state().functions.values())
    finally:
        code.close()


def _taken(kind: Kind) -> frozenset[str]:
    if kind is Kind.FILTER:
        return filter_names()
    if kind is Kind.CALLER:
        return frozenset()
    names = {name for known in step_types().values() for name in (known.name, *known.aliases)}
    return frozenset(
        names | {name for name in dir(StepSpec) if not name.startswith("__")} | {*StepSpec.model_fields}
    )


def _function(one: Function) -> FunctionView:
    return FunctionView(
        kind=one.kind,
        name=one.name,
        file=one.file,
        description=one.description,
        arguments=dict(one.arguments),
        secrets=list(one.secrets),
    )


def _file(one: CodeFile) -> CodeFileView:
    return CodeFileView(
        file=one.path,
        valid=one.problem is None,
        functions=[function.name for function in one.functions],
        problem=one.problem.message if one.problem else None,
        line=one.problem.line if one.problem else None,
        traceback=one.traceback,
    )
