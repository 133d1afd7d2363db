"""The rehearsal's stand-in for docker, and the builder that starts it in the embedded AWS."""
