"""What has moved to `batcat_runtime.io.query`."""

from batcat_runtime.io.query import DateLike as DateLike
from batcat_runtime.io.query import get_date_with_delta as get_date_with_delta
