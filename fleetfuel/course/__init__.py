"""One import, from what is asked to what came of it: a course that only looks, and one that writes."""
