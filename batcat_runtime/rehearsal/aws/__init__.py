"""The embedded AWS: moto behind services of our own."""
