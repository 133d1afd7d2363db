"""SQL on the embedded AWS: Athena and Redshift, executed by DuckDB over Glue's tables in S3."""
