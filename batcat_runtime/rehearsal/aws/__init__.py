"""The embedded AWS: moto's server, and what it does not do by itself."""
