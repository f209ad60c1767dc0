"""IPTC's digital source type: how an image came about, in the XMP data of its file.

IPTC Photo Metadata Standard 2023.1, "Digital Source Type"; the values are those of
http://cv.iptc.org/newscodes/digitalsourcetype/.
"""

from __future__ import annotations

import re

from PIL import Image

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = "trainedAlgorithmicMedia"
"""A model generated the image."""
COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
"""A model changed an image that it did not generate."""
ENHANCED = "algorithmicallyEnhanced"
"""An algorithm without a trained model changed the image, such as Lanczos resampling."""

PNG_CHUNK = "XML:com.adobe.xmp"
"""The name of the ``iTXt`` chunk with XMP (XMP Specification, part 3, 1.1.5)."""
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><Iptc4xmpExt:DigitalSourceType>'
    f"{VOCABULARY}%s</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="r"?>'
)
_TYPE = re.compile(r"DigitalSourceType[^<]{0,200}?https?://cv\.iptc\.org/newscodes/digitalsourcetype/([A-Za-z]{1,64})")
_XMP_MAX_BYTES = 1 << 20


def packet(source_type: str) -> str:
    """The XMP packet that says ``source_type``, one of the names above."""
    return _PACKET % source_type


def source_type(image: Image.Image) -> str | None:
    """The digital source type in the XMP data of an opened file, as in ``trainedAlgorithmicMedia``; or ``None``.

    Its pixels need not be decoded, unless it is a PNG file with XMP data behind the pixels.
    """
    xmp = image.info.get("xmp", b"")
    text = xmp[:_XMP_MAX_BYTES].decode("utf-8", "replace") if isinstance(xmp, bytes) else ""
    found = _TYPE.search(text)
    return found and found[1]
