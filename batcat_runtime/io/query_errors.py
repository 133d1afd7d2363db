"""What has moved to `batcat_runtime.io.query`."""

from batcat_runtime.io.query import line_and_column as line_and_column
from batcat_runtime.io.query import query_error as query_error
