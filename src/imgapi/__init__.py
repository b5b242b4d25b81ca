"""imgapi: nine image endpoints over HTTP, six AI edits and three local utilities."""

from importlib.metadata import version

__version__ = version("imgapi")
