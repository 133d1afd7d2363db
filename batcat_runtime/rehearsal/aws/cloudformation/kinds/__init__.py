"""The resource types that the embedded CloudFormation has: those of the project's templates.

Importing this package makes them known; `resources.KINDS` holds them by type.
"""

from . import compute, events, storage

__all__ = ["compute", "events", "storage"]
