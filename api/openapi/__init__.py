"""The OpenAPI document, and the pages at / and /docs.

models/ has the schemas of bodies and events, document.py builds and caches the document, operations.py, parameters.py,
headers.py, responses.py and schemas.py build its parts, and pages.py serves the pages in static/.
"""
