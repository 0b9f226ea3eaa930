"""What a report holds, unpacked."""

import base64
import gzip
import re


def everything_in(page: bytes) -> str:
    """The page's data, those included that it unpacks when they are viewed."""
    text = page.decode()
    blobs = re.findall(r'data-blob="[^"]+">([^<]*)</script>', text)
    return "\n".join(
        [*re.findall(r'id="study">(.*?)</script>', text, re.DOTALL), *(gzip.decompress(base64.b64decode(b)).decode() for b in blobs)]
    )
