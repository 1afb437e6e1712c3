"""Handing a message to an SMTP server: taken, refused with the server's words, or of unknown outcome."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flow_processor.connections.ending import ended_with, unknown_outcome
from flow_processor.errors import StepError
from flow_processor.paths import inside
from flow_processor.shortened import shortened
from flow_processor.step import StepContext

_CONNECT_SECONDS = 30.0
MAX_ANSWER = 2000
"""So many characters of what the server says are kept."""
_PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class EmailError(StepError):
    """The message was not sent."""

    code = "email_failed"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where messages are handed over."""

    host: str
    """A template."""
    port: int | None
    tls: str = field(kw_only=True)
    """starttls, ssl or none."""
    verify: bool | str = field(kw_only=True)
    """Check its certificate; a text is the file with those to trust, below the data folder."""
    secret: str | None = field(kw_only=True)
    """Name of the secret with user name and password."""

    def deliver(self, sender: str, recipients: list[str], data: bytes, context: StepContext) -> str:
        """Hand the message over; what the server says to it. Raises EmailError and PathRefused."""
        with _connected(self, context) as server, ended_with(context, lambda: _hang_up(server)):
            return _send(server, sender, recipients, data)


@contextlib.contextmanager
def _connected(options: MailServer, context: StepContext) -> Iterator[smtplib.SMTP]:
    """A server that has greeted, speaks TLS if it must, and knows the user."""
    host = str(context.render(options.host))
    port = options.port or _PORTS[options.tls]
    left = context.remaining_seconds()
    seconds = _CONNECT_SECONDS if left is None else max(1.0, min(left, _CONNECT_SECONDS))
    known: dict[str, Any] = {"timeout": seconds, "local_hostname": socket.gethostname()}
    where = f"{host}:{port}"
    server: smtplib.SMTP | None = None
    try:
        if options.tls == "ssl":
            server = smtplib.SMTP_SSL(host, port, context=_tls(options, context), **known)
        else:
            server = smtplib.SMTP(host, port, **known)
        if options.tls == "starttls":
            server.starttls(context=_tls(options, context))
        if options.secret is not None:
            _log_in(server, options.secret, context)
    except smtplib.SMTPException as error:
        _close(server)
        raise _refused(error, f"{where} does not take part", code="email_connection") from error
    except OSError as error:
        _close(server)
        code = "email_tls" if isinstance(error, ssl.SSLError) else "email_connection"
        raise EmailError(f"cannot connect to {where}: {error.strerror or error}", code=code) from error
    except BaseException:
        _close(server)
        raise
    try:
        yield server
    finally:
        _close(server)


def _tls(options: MailServer, context: StepContext) -> ssl.SSLContext:
    if isinstance(options.verify, str):
        folders = context.folders
        path = inside(folders.data, options.verify, what="email.verify", private=folders.private)
        if not path.is_file():
            raise EmailError(f"verify: there is no file {options.verify!r}", code="email_tls")
        return ssl.create_default_context(cafile=str(path))
    found = ssl.create_default_context()
    if not options.verify:
        context.log("the server's certificate is not checked (verify: false)", level="warning")
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    return found


def _log_in(server: smtplib.SMTP, name: str, context: StepContext) -> None:
    values = context.secret(name).values
    user, password = values.get("username"), values.get("password")
    if not isinstance(user, str) or not isinstance(password, str):
        there = ", ".join(sorted(values)) or "nothing"
        message = f"secret {name!r} has no username and password; it has: {there}"
        raise EmailError(message, code="email_authentication")
    try:
        server.login(user, password)
    except smtplib.SMTPAuthenticationError as error:
        raise _refused(error, "the server refuses the login", code="email_authentication") from error
    except smtplib.SMTPNotSupportedError as error:
        message = "the server offers no login (AUTH); leave 'secret' out, or use another port"
        raise EmailError(message, code="email_authentication") from error


def _send(server: smtplib.SMTP, sender: str, recipients: list[str], data: bytes) -> str:
    """Hand the message over; what the server says to it."""
    try:
        server.ehlo_or_helo_if_needed()
        options = [f"size={len(data)}"] if server.has_extn("size") else []
        if not all(address.isascii() for address in (sender, *recipients)):
            if not server.has_extn("smtputf8"):
                reason = "an address has letters that the server does not take (no SMTPUTF8)"
                raise EmailError(reason, code="email_address_invalid")
            server.command_encoding = "utf-8"
            options += ["SMTPUTF8", "BODY=8BITMIME"]
        _accepted(server.mail(sender, options), f"the sender {sender}", code="email_sender_refused")
        answers = {address: server.rcpt(address) for address in recipients}
        refused = {
            address: _told(answer) for address, answer in answers.items() if answer[0] not in (250, 251)
        }
        if refused:
            address, first = next(iter(refused.items()))
            text = f"{address}: {first['status']} {first['answer']}"
            words = (
                f"the server refuses {len(refused)} of {len(recipients)} recipients; nothing was sent; {text}"
            )
            raise EmailError(words, code="email_recipient_refused", details={"refused": refused})
    except (smtplib.SMTPException, OSError) as error:
        raise _refused(
            error, "the connection broke before the message was sent", code="email_connection"
        ) from error
    try:
        answer = server.data(data)
    except smtplib.SMTPDataError as error:  # it does not want to hear it
        raise _refused(error, "the server refuses the message", code="email_refused") from error
    except (smtplib.SMTPException, OSError) as error:
        message = f"the connection broke while the message was sent; whether the server took it is not known: {error}"
        raise EmailError(message, code="email_unclear", details=unknown_outcome()) from error
    _accepted(answer, "the message", code="email_refused")
    return str(_told(answer)["answer"])


def _accepted(answer: tuple[int, bytes], what: str, *, code: str) -> None:
    if answer[0] != 250:
        told = _told(answer)
        message = f"the server refuses {what}: {told['status']} {told['answer']}"
        raise EmailError(message, code=code, details=told)


def _told(answer: tuple[int, bytes]) -> dict[str, Any]:
    return {"status": answer[0], "answer": shortened(answer[1].decode(errors="replace"), MAX_ANSWER)}


def _refused(error: Exception, what: str, *, code: str) -> EmailError:
    if isinstance(error, smtplib.SMTPResponseException):
        raw = error.smtp_error
        told = _told((error.smtp_code, raw if isinstance(raw, bytes) else str(raw).encode()))
        return EmailError(f"{what}: {told['status']} {told['answer']}", code=code, details=told)
    return EmailError(f"{what}: {error}", code=code)


def _hang_up(server: smtplib.SMTP) -> None:
    """End what the server is waited for, from another thread."""
    sock = server.sock
    if sock is not None:
        # Not SSLSocket's own shutdown: it takes the TLS state away from the thread that is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _close(server: smtplib.SMTP | None) -> None:
    if server is None:
        return
    with contextlib.suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()
