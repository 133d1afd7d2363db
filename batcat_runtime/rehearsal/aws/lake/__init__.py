"""Athena, Redshift and the Glue catalogue: DuckDB over the objects of the embedded S3."""
