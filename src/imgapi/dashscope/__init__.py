"""DashScope as a client sees it: bodies, calls, temporary uploads, faults."""
