"""``/v1/methods``: what can be asked for."""

from __future__ import annotations

from fastapi import APIRouter, Response

from ...methods.registry import METHODS
from ...wire.documents import HTTP_DEFAULTS, HTTP_OPTIONS
from ...wire.replies import MethodReply, MethodsReply, OptionReply
from ..responses import json_response

router = APIRouter(prefix="/v1", tags=["methods"])


@router.get("/methods", summary="All methods and options", response_model=MethodsReply)
async def list_methods() -> Response:
    """Every method with the options it takes; every option with type, default, bounds and a line of help."""
    return json_response(methods_reply())


def methods_reply() -> MethodsReply:
    """Return the document, made from the registry and the one list of options."""
    everywhere = ["warm_start"]
    methods = [
        MethodReply(
            name=spec.name,
            help=spec.help,
            options=[option.name for option in HTTP_OPTIONS if option.name in {*spec.options, *everywhere}],
        )
        for spec in METHODS.values()
    ]
    options = [
        OptionReply(
            name=spec.name,
            type=spec.kind,
            default=HTTP_DEFAULTS.get(spec.name, spec.default),
            nullable=spec.nullable,
            minimum=spec.minimum,
            exclusive_minimum=spec.exclusive_minimum,
            maximum=spec.maximum,
            exclusive_maximum=spec.exclusive_maximum,
            choices=list(METHODS) if spec.name == "method" else list(spec.choices),
            help=spec.help,
        )
        for spec in HTTP_OPTIONS
    ]
    return MethodsReply(methods=methods, options=options)
