"""The fault laboratory: the delivery contract of a session, tried under every fault that we can name.

``python -m tests.faults --help`` says how to run it for longer than the tests do, and how to replay a seed.
"""
