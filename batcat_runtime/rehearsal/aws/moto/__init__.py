"""Where the embedded AWS touches moto: what is patched in it, and what is read from it."""
