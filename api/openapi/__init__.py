"""The OpenAPI document and the pages of documentation."""
