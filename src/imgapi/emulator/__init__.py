"""A stand-in for DashScope that speaks its HTTP protocol and really computes the edits."""
