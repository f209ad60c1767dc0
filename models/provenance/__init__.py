"""Marks that say that an image was made by a machine: IPTC, C2PA and a watermark; and how they are read.

``models.media.iptc`` has the IPTC part, which needs no library.
"""
