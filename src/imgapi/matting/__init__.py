"""Matting: a picture goes in, the same picture with true alpha comes out."""
