"""SCIM 2.0: schemas, filters, PATCH. Protocol without sockets and without policy (RFC 7643, RFC 7644)."""
