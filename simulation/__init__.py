"""Honest simulated chat models: the embedded default for the demo, tests, load and planning.

Item-response behaviour with declared abilities over the real document text, real leaks, real
malformed replies at declared rates, and prompts that matter because the challenger obeys the rules
that it finds in them. They prove nothing about quality, and everything that shows their numbers
says "simulated".
"""

from autodata.simulation.roles import SimulatedReply, respond

__all__ = ["SimulatedReply", "respond"]
