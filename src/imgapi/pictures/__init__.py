"""Pixels in this machine: probing, resizing, converting, and the workers that do it."""
