"""What people and agents type: edits from a terminal, and the tools of MCP; both call the public API."""
