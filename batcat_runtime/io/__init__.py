"""Reading and writing data on AWS: one file a service."""
