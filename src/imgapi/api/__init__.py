"""The HTTP border: routes, error to status, the OpenAPI document, request log."""
