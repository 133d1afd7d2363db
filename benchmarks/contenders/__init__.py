"""Ways to do the same work: BatCat's, the floor's, and what else a data scientist would write."""
