"""Calls from outside that start flows: each is proven, and none starts two runs."""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import threading
from collections.abc import Iterator, Sequence

from flow_processor.clock import Clock
from flow_processor.errors import (
    DeliveryTooLarge,
    FlowNotFound,
    InvalidRequest,
    SecretNotFound,
    SpecError,
    StepError,
    Unauthorized,
    WebhookUnavailable,
)
from flow_processor.flow_files import FlowLibrary
from flow_processor.flow_files.parsing import LoadedFlow
from flow_processor.queues.rate import RateLimit
from flow_processor.run import Trigger
from flow_processor.secrets import SecretStore
from flow_processor.service.cause import Cause
from flow_processor.service.launcher import Launcher
from flow_processor.service.sparing_log import SparingLog
from flow_processor.service.views import View
from flow_processor.service.webhook_input import input_of
from flow_processor.service.webhook_proof import Headers, Proof, Unproven, prove
from flow_processor.spec.webhook import WebhookSpec
from flow_processor.store import Connection, Store
from flow_processor.store.deliveries import claim_delivery, run_of_delivery
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.webhooks")

LOOKS_PER_SECOND = 20
"""For so many calls a second it is looked whether flow files have changed; strangers call as often as they like."""

TURNS = 64
"""Deliveries that are alike take turns; so many that are not alike may come at once."""

_STRANGER = WebhookSpec(name="stranger", secret="none")  # noqa: S106  no secret, there is none
"""Stands for hooks that there are not, so that a call of one takes as long as any other."""


class Received(View):
    """What became of a call of a webhook."""

    run_id: str
    """The run that it became."""
    repeated: bool
    """True: the same delivery had come before, and this is its run; nothing was started now."""


class Webhooks:
    """Takes calls of webhooks. Thread safe."""

    def __init__(
        self,
        library: FlowLibrary,
        secret_store: SecretStore,
        launcher: Launcher,
        store: Store,
        *,
        clock: Clock,
    ) -> None:
        self._library = library
        self._secrets = secret_store
        self._launcher = launcher
        self._store = store
        self._clock = clock
        self._turns = [threading.Lock() for _ in range(TURNS)]
        self._no_key = secrets.token_bytes(32)
        self._refusals = SparingLog(logger, clock=clock)
        self._looking = threading.Lock()
        self._hooks: Sequence[tuple[LoadedFlow, WebhookSpec]] = ()
        self._looks = RateLimit(LOOKS_PER_SECOND, now=-math.inf)

    def receive(self, name: str, headers: Headers, body: bytes, *, sender: str) -> Received:
        """Start the flow that has the hook `name`; the run is durable when this returns. `sender` is the address that
        calls, for the log.

        Raises Unauthorized (also where there is no such hook, and where nothing can be proven for want of a secret),
        WebhookUnavailable, DeliveryTooLarge, InvalidRequest for a body that is not what it says, and what a launch
        raises: FlowRunning, ShuttingDown, StoreUnavailable.
        """
        self._launcher.check_open()
        found = [(flow, spec) for flow, spec in self._all_of_late() if spec.name == name]
        try:
            flow, spec, proof = self._proven(found, headers, body)
        except Unproven as why:
            known = name if found else ""
            self._refusals.warning(
                known, "webhook '%s': refused: %s (%s)", name[:100], why, _from(sender, headers)
            )
            raise Unauthorized("Unauthorized") from None
        if len(found) > 1:
            raise _unavailable(name, f"several flows have it: {', '.join(flow.path for flow, _ in found)}")
        if spec.max_body is not None and len(body) > int(spec.max_body):
            limit = int(spec.max_body)
            message = f"the body has {len(body)} bytes; this webhook takes {limit}"
            raise DeliveryTooLarge(message, details={"limit": limit})
        alike = self._turns[hash(proof.marks[0]) % TURNS] if proof.marks else contextlib.nullcontext()
        with alike:
            received = self._start(flow, spec, proof, headers, body)
        what = "the same again of" if received.repeated else "starts"
        logger.info("webhook '%s': %s run %s", name, what, received.run_id, extra={"flow": flow.path})
        return received

    def _proven(
        self, found: Sequence[tuple[LoadedFlow, WebhookSpec]], headers: Headers, body: bytes
    ) -> tuple[LoadedFlow, WebhookSpec, Proof]:
        """The first of the flows with this hook whose secret the caller knows, and the proof. Raises Unproven.

        Whatever keeps a hook from being served is told to nobody before that: the answer would tell which hooks
        there are. Where there is no key, the HMAC is computed all the same.
        """
        now = self._clock.now().timestamp()
        reasons = []
        for flow, spec in found:
            try:
                return flow, spec, prove(spec, self._key(spec), headers, body, now=now)
            except Unproven as why:
                reasons.append(str(why))
            except _NoKey as why:
                self._prove_nothing(spec, headers, body, now)
                reasons.append(f"it cannot be served: {why}")
        if not found:
            self._prove_nothing(_STRANGER, headers, body, now)
        raise Unproven("; ".join(reasons) or "no flow has it")

    def _prove_nothing(self, spec: WebhookSpec, headers: Headers, body: bytes, now: float) -> None:
        """Take as long as a proof takes; the key is known to nobody."""
        with contextlib.suppress(Unproven):
            prove(spec, self._no_key, headers, body, now=now)

    def _start(
        self, flow: LoadedFlow, spec: WebhookSpec, proof: Proof, headers: Headers, body: bytes
    ) -> Received:
        at = self._clock.now()
        first = run_of_delivery(self._store.engine, spec.name, proof.marks, at=at.timestamp())
        if first is not None:
            return Received(run_id=first, repeated=True)

        def claim(connection: Connection, run: RunRow) -> bool:
            return claim_delivery(
                connection,
                spec.name,
                proof.marks,
                run_id=run.id,
                at=at.timestamp(),
                expires_at=proof.expires_at,
            )

        payload = input_of(spec, headers, body, at=at)
        cause = Cause(Trigger.WEBHOOK, spec.name, claim=claim)
        try:
            run = self._launcher.launch(flow.path, payload=payload, params=dict(spec.params), cause=cause)
        except (FlowNotFound, SpecError, InvalidRequest) as error:
            # What is wrong with the flow is no fault of the caller's, nor the caller's business.
            raise _unavailable(spec.name, error) from None
        if run is None:  # one that is alike in its second mark came first
            first = run_of_delivery(self._store.engine, spec.name, proof.marks, at=at.timestamp())
            if first is None:
                raise _unavailable(spec.name, "the same delivery was taken, and is forgotten already")
            return Received(run_id=first, repeated=True)
        return Received(run_id=run.id, repeated=False)

    def problems(self) -> list[str]:
        """What keeps webhooks from being called: names that are taken, secrets that are not there."""
        found = []
        known: dict[str, list[str]] = {}
        for flow, spec in self._all():
            known.setdefault(spec.name, []).append(self._library.shown(flow.path))
            try:
                self._key(spec)
            except _NoKey as why:
                found.append(f"{self._library.shown(flow.path)}: webhook '{spec.name}': {why}")
        for name, files in known.items():
            if len(files) > 1:
                found.append(
                    f"{' and '.join(files)} have a webhook '{name}': a call of it starts none of them"
                )
        return found

    def _all_of_late(self) -> Sequence[tuple[LoadedFlow, WebhookSpec]]:
        """As they are now or, while very many call, were at most a second ago."""
        now = self._clock.monotonic()
        with self._looking:
            may_look = self._looks.room(now) > 0
            if may_look:
                self._looks.take(now)
        if may_look:
            self._hooks = list(self._all())
        return self._hooks

    def _all(self) -> Iterator[tuple[LoadedFlow, WebhookSpec]]:
        for _, flow in sorted(self._library.webhooks().items()):
            if flow.spec.webhook is not None:
                yield flow, flow.spec.webhook

    def _key(self, spec: WebhookSpec) -> bytes:
        """What signs its calls. Raises _NoKey; never asks anybody over the network."""
        if spec.secret in self._secrets.names() and spec.secret not in self._secrets.tokens():
            raise _NoKey(f"the secret '{spec.secret}' is of another type than token")
        try:
            key = str(self._secrets.get(spec.secret).values["token"]).encode()
        except (SecretNotFound, StepError) as error:
            raise _NoKey(error.message) from None
        if not key:
            raise _NoKey(f"the secret '{spec.secret}' is empty")
        return key


class _NoKey(Exception):
    """Why no call of a webhook can be proven: for the log and for readiness, never for the caller."""


def _from(sender: str, headers: Headers) -> str:
    """Where a call came from, as far as that is known: anybody can write the header."""
    through = headers.get("X-Forwarded-For")
    return f"from {sender}" if through is None else f"from {sender}, X-Forwarded-For: {through[:100]}"


def _unavailable(name: str, why: object) -> WebhookUnavailable:
    logger.error("webhook '%s' cannot be served: %s", name[:100], why)
    return WebhookUnavailable("this webhook cannot be served now; the daemon's log tells why")
