"""The embedded AWS: moto's server, and what stands in front of it."""
