"""Where models are called: roles, requests, limits, budget, and the wire."""
