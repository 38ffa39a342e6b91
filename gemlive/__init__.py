"""A trio library for the Gemini Live API."""

__version__ = "0.1.0"
