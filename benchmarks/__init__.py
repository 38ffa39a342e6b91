"""Measurements side by side with google-genai, each run by hand: ``python -m benchmarks.receive``."""
