"""The call about own code: what there is, what is wrong with it, and what is switched off."""

from __future__ import annotations

from flask import Response

from flow_processor.api.errors import error_answers
from flow_processor.api.handlers import answer, handler, service
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission
from flow_processor.service.code_views import OwnCodeView

noun = Noun("code", "/api/code", "Your own Python, and what may be run on this machine at all.")


@noun.get("", needs=Permission.READ, responses={200: OwnCodeView, **error_answers()})
@handler
def code() -> Response:
    """Say whether own code and the shell step are switched on, which functions there are and which files are broken."""
    return answer(service().own_code.view())
