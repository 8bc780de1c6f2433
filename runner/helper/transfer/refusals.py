"""Why an object store refuses, in its own words."""

import re

from runner.helper.transfer.http import Reply, TransferError

_XML = re.compile(r"<(Code|Message)>([^<]{1,300})</")
_TOO_LARGE = "EntityTooLarge"


def refusal(reply: Reply, said: str | None = None) -> TransferError:
    """Say why a store refuses, with the code and the sentence of its XML; `said` is the body if it has been read."""
    found = dict(_XML.findall(reply.text() if said is None else said))
    words = f"received: {reply.status} {reply.reason}".rstrip()
    if found:
        words += f". Request failed with code: {found.get('Code', '')}, message: {found.get('Message', '')}"
    if found.get("Code") == _TOO_LARGE:
        words += ". S3 takes 5 GiB in one piece: with UploadRoleARN an archive goes in parts"
    return TransferError(words, status=reply.status if reply.status >= 300 else 500)
