"""A program that re-encodes an uploaded image: browsers show the same, and nothing else of the upload is kept.

The API runs `__main__.py` in a process for each upload, because malicious input can crash decoders, hang them or
exhaust their memory. The process limits its own resources and enters a sandbox before it reads a byte, has no secrets,
and imports nothing of the API but this package. formats.py lists the accepted formats and detects them; gif.py, jpeg.py
and png.py each re-encode one. scaling.py scales large images down, if the program is to do so. limits.py has the
limits, and sandbox.py the system calls that are allowed.
"""
