"""The interface for programs: REST below `/api/v1`, its description (OpenAPI), and live events.

Everything the console can do, by the same calls with the same rights. One table (`table.OPERATIONS`) says all: routes,
what is accepted, what is answered, and the description are made of it, so they cannot disagree.
"""
