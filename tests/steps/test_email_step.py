"""The email step against real SMTP servers (aiosmtpd) on loopback: plain, with STARTTLS and a login, broken ones."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from loopback import self_signed
from pydantic import ValidationError

from flow_processor import factory
from flow_processor.engine.policies import Then, decide
from flow_processor.errors import StepError
from flow_processor.step import Secret, StepResult
from tests.ports import free_port
from tests.steps.fake_context import FakeContext

PASSWORD = "canary-of-the-mailbox"
RunStep = Callable[..., StepResult]


class Mailbox:
    """Takes mail; refuses `nobody@…` as recipient, `banned@…` as sender and the subject `Spam`."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("banned@"):
            return "550 5.7.1 you are banned"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if b"Subject: Spam" in (envelope.content or b""):
            return "554 5.7.1 this is spam"
        self.taken.append(envelope)
        return "250 taken as 42"

    def message(self) -> EmailMessage:
        """The last one."""
        found = email.message_from_bytes(self.taken[-1].content or b"", policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found


def log_in(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: LoginPassword
) -> AuthResult:
    knows = (login.login, login.password) == (b"reports", PASSWORD.encode())
    return AuthResult(success=knows, handled=knows)  # what is not handled is answered by the server: 535


@contextmanager
def listening(mailbox: Mailbox, **options: Any) -> Iterator[int]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), ready_timeout=60, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def box() -> Mailbox:
    return Mailbox()


@pytest.fixture(scope="module")
def port(box: Mailbox) -> Iterator[int]:
    with listening(box) as found:
        yield found


@pytest.fixture
def mail(run_step: RunStep, port: int) -> Callable[..., Any]:
    """`mail(**options)` -> the result, by the plain server."""
    usual = {"host": "127.0.0.1", "port": port, "tls": "none", "from": "Reports <me@example.org>"}
    usual |= {"to": "ann@example.org", "subject": "Hi", "text": "Hello"}
    return lambda **options: run_step(type="email", email={**usual, **options}).value


def refused(mail: Callable[..., Any], **options: Any) -> StepError:
    with pytest.raises(StepError) as error:
        mail(**options)
    assert PASSWORD not in json.dumps(error.value.as_record())
    return error.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": []}, "there is no recipient"),
        ({"text": None}, "'text' or 'html' is missing"),
        ({"tls": "none", "secret": "x"}, "a password is not sent without TLS"),
        ({"tls": "maybe"}, "'starttls', 'ssl' or 'none'"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"attachments": [{"path": "a", "type": "nonsense"}]}, "attachments"),
        ({"from": None}, "from"),
    ],
)
def test_what_is_refused_at_load(step: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    usual = {"host": "smtp", "from": "a@b.c", "to": "a@b.c", "text": "x"}
    with pytest.raises(ValidationError) as error:
        step(type="email", email={**usual, **options})
    assert message in str(error.value)


def test_it_is_never_sent_again_by_itself(step: Callable[..., Any]) -> None:
    spec = step(type="email", email={"host": "smtp", "from": "a@b.c", "to": "a@b.c", "text": "x"})
    assert factory.step_type_of(spec).repeatable(spec.options) is False


def test_a_whole_message(mail: Callable[..., Any], box: Mailbox, context: FakeContext) -> None:
    context.data = {"__run_id__": "r1", "team": ["bob@example.org", "Zoë <zoe@example.org>"], "n": 3}
    (context.folders.data / "output").mkdir()
    (context.folders.data / "output" / "t.csv").write_text("a,b\n1,2\n")
    result = mail(
        to=["Ann Example <ann@example.org>, dan@example.org", "{{ team }}"],
        cc="carl@example.org",
        bcc=["eve@example.org", "ann@example.org"],
        reply_to="help@example.org",
        subject="{{ n }} öpen tickets",
        text="Grüße\n.\nend",
        html="<b>{{ n }}</b>",
        attachments=["output/t.csv", {"path": "output/{{ 't' }}.csv", "name": "täble", "type": "text/plain"}],
    )
    names = ("ann", "dan", "bob", "zoe", "carl", "eve")
    assert result["recipients"] == [f"{name}@example.org" for name in names]
    assert result["answer"] == "taken as 42"
    envelope, message = box.taken[-1], box.message()
    assert (envelope.mail_from, envelope.rcpt_tos) == ("me@example.org", result["recipients"])
    assert message["Message-ID"] == result["message_id"]
    assert message["From"] == "Reports <me@example.org>"
    assert "Zoë <zoe@example.org>" in message["To"]
    assert (message["Cc"], message["Bcc"], message["Reply-To"]) == (
        "carl@example.org",
        None,
        "help@example.org",
    )
    assert (message["Subject"], message["Date"]) == ("3 öpen tickets", "Sat, 21 Nov 2026 07:40:06 +0000")
    assert b"eve@" not in (envelope.content or b"")
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert rich is not None
    assert plain.get_content().splitlines() == ["Grüße", ".", "end"]
    assert rich.get_content().strip() == "<b>3</b>"
    table, other = message.iter_attachments()
    assert (table.get_filename(), table.get_content_type()) == ("t.csv", "text/csv")
    assert (other.get_filename(), other.get_content_type()) == ("täble", "text/plain")


def test_the_message_id_is_that_of_the_visit(mail: Callable[..., Any], context: FakeContext) -> None:
    context.data = {"__run_id__": "r1"}
    first, context.attempt = mail()["message_id"], 2
    assert mail()["message_id"] == first
    context.path = "step#2"
    assert mail()["message_id"] != first


@pytest.mark.parametrize("key", ["subject", "from", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\u2028"])
def test_nothing_can_add_a_header(
    mail: Callable[..., Any], box: Mailbox, context: FakeContext, key: str, line_break: str
) -> None:
    context.data = {"x": f"a@example.org{line_break}Bcc: spy@example.org"}
    before = len(box.taken)
    assert refused(mail, **{key: "{{ x }}"}).code == "email_header_invalid"
    assert len(box.taken) == before


@pytest.mark.parametrize(
    "address", ["ann", "ann@", "@example.org", "a b@example.org", "", "<>", "ann@x>, <b"]
)
def test_what_is_no_address(mail: Callable[..., Any], context: FakeContext, address: str) -> None:
    context.data = {"x": address}
    assert refused(mail, to="{{ x }}").code == "email_address_invalid"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../x", "path_refused"),
        ("/etc/passwd", "path_refused"),
        ("none.csv", "email_attachment"),
        ("a\nb", None),
    ],
)
def test_attachments_stay_below_the_data_folder(
    mail: Callable[..., Any], path: str, code: str | None
) -> None:
    assert refused(mail, attachments=[path]).code == (code or "email_header_invalid")


def test_one_refused_recipient_and_nobody_gets_it(mail: Callable[..., Any], box: Mailbox) -> None:
    before = len(box.taken)
    error = refused(mail, to=["ann@example.org", "nobody@example.org"])
    assert error.code == "email_recipient_refused"
    assert error.details == {
        "refused": {"nobody@example.org": {"status": 550, "answer": "5.1.1 no such user"}}
    }
    assert "1 of 2 recipients" in error.message
    assert len(box.taken) == before


def test_what_the_server_refuses(mail: Callable[..., Any]) -> None:
    error = refused(mail, **{"from": "banned@example.org"})
    assert (error.code, error.details) == (
        "email_sender_refused",
        {"status": 550, "answer": "5.7.1 you are banned"},
    )
    error = refused(mail, subject="Spam")
    assert (error.code, error.details) == ("email_refused", {"status": 554, "answer": "5.7.1 this is spam"})
    assert refused(mail, tls="starttls").code == "email_connection"
    assert refused(mail, port=9).code == "email_connection"


def test_starttls_and_a_login(
    mail: Callable[..., Any], context: FakeContext, tls: tuple[ssl.SSLContext, Path]
) -> None:
    server_context, certificate = tls
    (context.folders.data / "ca.pem").write_bytes(certificate.read_bytes())
    box = Mailbox()
    options = {"tls_context": server_context, "auth_required": True, "authenticator": log_in}
    with listening(box, require_starttls=True, **options) as port:
        secure = {"port": port, "tls": "starttls", "verify": "ca.pem", "secret": "box"}
        context.secrets["box"] = Secret("box", "credential", {"username": "reports", "password": PASSWORD})
        assert mail(**secure)["answer"] == "taken as 42"
        assert refused(mail, **{**secure, "verify": True}).code == "email_tls"
        error = refused(mail, **{**secure, "secret": None})
        assert (error.code, error.details["status"]) == ("email_sender_refused", 530)
        context.secrets["box"] = Secret("box", "credential", {"username": "ann", "password": PASSWORD})
        error = refused(mail, **secure)
        assert (error.code, error.details["status"]) == ("email_authentication", 535)
        context.secrets["box"] = Secret("box", "token", {"token": PASSWORD})
        assert refused(mail, **secure).code == "email_authentication"
    assert len(box.taken) == 1


@contextmanager
def leaving(after: bytes) -> Iterator[int]:
    """A server that hangs up when it has read `after`; with b"" it never answers."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            if after:
                stream.write(b"220 hi\r\n")
                stream.flush()
            while line := stream.readline():
                line = line.upper()
                if after and line.startswith(after):
                    return
                if line.startswith((b"EHLO", b"MAIL", b"RCPT", b"DATA")) and after:
                    stream.write(b"354 go\r\n" if line.startswith(b"DATA") else b"250 ok\r\n")
                    stream.flush()

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join()


def test_an_unclear_outcome_is_not_tried_again(mail: Callable[..., Any], step: Callable[..., Any]) -> None:
    """Lost before the message: certainly not taken. Lost behind it: nobody knows."""
    retried = {"host": "x", "from": "a@b.c", "to": "a@b.c", "text": "x"}
    spec = step(type="email", email=retried, retry={"attempts": 3})
    with leaving(b"RCPT") as port:
        error = refused(mail, port=port)
        assert error.code == "email_connection"
        assert decide(spec, 1, error).then is Then.RETRY
    with leaving(b"SUBJECT") as port:
        error = refused(mail, port=port)
        assert (error.code, error.details) == ("email_unclear", {"outcome": "unknown"})
        assert decide(spec, 1, error).then is Then.FAIL


def test_a_server_that_says_nothing_ends_with_the_time(
    mail: Callable[..., Any], context: FakeContext
) -> None:
    context.seconds_left = 1
    with leaving(b"") as port:
        assert refused(mail, port=port).code == "email_connection"
