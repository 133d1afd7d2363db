"""What has moved to `batcat_runtime.io.query`."""

from batcat_runtime.io.query import Dialect as Dialect
from batcat_runtime.io.query import is_ordered as is_ordered
from batcat_runtime.io.query import is_select as is_select
from batcat_runtime.io.query import outline as outline
from batcat_runtime.io.query import pieces as pieces
from batcat_runtime.io.query import statement as statement
from batcat_runtime.io.query import with_dates as with_dates
